package wire_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

var head = store.Head{ID: "0199d3a0-5f1e-7c5a-9d1b-3f5c8e2a7b61", Client: "acme", CreatedAt: now, UpdatedAt: now, Version: 3}

// TestTheSeedsProxy takes the seed's payload as it stands, and shows it with the original's
// fields.
func TestTheSeedsProxy(t *testing.T) {
	p, err := wire.DecodeProxy([]byte(`{
  "proxyName": "stripe-payment-api",
  "proxyRegion": "us-east-1",
  "proxyProxyCredentialId": "<auth0-m2m-verify-id>",
  "proxyTargetId": "<stripe-target-id>",
  "proxyTargetCredentialId": "<stripe-api-key-id>",
  "proxyDefaultRuleEffect": "deny"
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Head = head
	same(t, wire.ShowProxy(p), object{
		"pKey": "acme", "sKey": head.ID, "clientId": "acme", "parentId": "acme", "proxyId": head.ID, "proxyName": "stripe-payment-api", "proxyRegion": "us-east-1",
		"proxyProxyCredentialId": "<auth0-m2m-verify-id>", "proxyProxyCredentialIds": []string{"<auth0-m2m-verify-id>"}, "proxyTargetId": "<stripe-target-id>",
		"proxyTargetCredentialId": "<stripe-api-key-id>", "proxyActive": true, "proxyDefaultRuleEffect": "deny", "proxyCreatedAt": now, "proxyUpdatedAt": now,
	})
}

func TestProxies(t *testing.T) {
	base := func(more object) object {
		all := object{"proxyName": "p", "proxyProxyCredentialId": "a", "proxyTargetId": "t", "proxyTargetCredentialId": "c"}
		for k, v := range more {
			if all[k] = v; v == nil {
				delete(all, k)
			}
		}
		return all
	}
	full := &store.Proxy{Head: head, Name: "p", CredentialIDs: []string{"a", "b"}, TargetID: "t", TargetCredentialID: "c", Alias: "x", Inactive: true, Default: "deny", EncodedSlash: "keep", MaxBody: 9, Region: "eu"}
	ids := make([]string, 1001)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	for _, tt := range []struct {
		name   string
		old    *store.Proxy
		body   object
		want   func(p *store.Proxy) bool
		faults []string
	}{
		{"active by default", nil, base(nil), func(p *store.Proxy) bool { return !p.Inactive }, nil},
		{"inactive", nil, base(object{"proxyActive": false}), func(p *store.Proxy) bool { return p.Inactive }, nil},
		{"a list", nil, base(object{"proxyProxyCredentialId": nil, "proxyProxyCredentialIds": []string{"a", "b"}}), func(p *store.Proxy) bool { return reflect.DeepEqual(p.CredentialIDs, []string{"a", "b"}) }, nil},
		{"a list and its first", nil, base(object{"proxyProxyCredentialIds": []string{"a", "b"}}), func(p *store.Proxy) bool { return len(p.CredentialIDs) == 2 }, nil},
		{"a list and another", nil, base(object{"proxyProxyCredentialIds": []string{"b", "a"}}), nil, []string{"/proxyProxyCredentialId: it is not the first of"}},
		{"options", nil, base(object{"encodedSlash": "keep", "maxBody": 4096, "proxyAlias": "payment-gateway"}), func(p *store.Proxy) bool {
			return p.EncodedSlash == "keep" && p.MaxBody == 4096 && p.Alias == "payment-gateway"
		}, nil},
		{"nothing", nil, object{}, nil, []string{"/proxyName: missing", "/proxyProxyCredentialId: missing", "/proxyTargetId: missing", "/proxyTargetCredentialId: missing"}},
		{"twice", nil, base(object{"proxyProxyCredentialIds": []string{"a", "a", ""}}), nil, []string{"/proxyProxyCredentialIds/1: it is there twice", "/proxyProxyCredentialIds/2: id or name"}},
		{"too many", nil, base(object{"proxyProxyCredentialIds": ids}), nil, []string{"/proxyProxyCredentialIds: it has 1001 elements"}},
		{"limits", nil, base(object{"proxyMaxRequestsPerMinute": 300, "proxyMaxRequestsPerDay": 1}), nil, []string{"/proxyMaxRequestsPerDay: not supported by this version", "/proxyMaxRequestsPerMinute: not supported by this version"}},
		{"meters and filters", nil, base(object{"meters": []any{}, "filters": []any{}}), nil, []string{"/filters: filters are not supported", "/meters: meters and limits"}},
		{"an alias with a slash", nil, base(object{"proxyAlias": "a/b"}), nil, []string{"/proxyAlias: letters, digits"}},
		{"an alias that is a dot segment", nil, base(object{"proxyAlias": ".."}), nil, []string{"/proxyAlias: letters, digits"}},
		{"an alias that looks like an id", nil, base(object{"proxyAlias": strings.ToUpper(head.ID)}), nil, []string{"/proxyAlias: does not look like an id"}},
		{"a slash that is not kept", nil, base(object{"proxyEncodedSlash": "drop"}), nil, []string{"/proxyEncodedSlash: it has to be keep"}},
		{"a body of less than nothing", nil, base(object{"proxyMaxBody": -1}), nil, []string{"/proxyMaxBody: a whole number from 0"}},

		{"a change", full, object{"proxyActive": true}, func(p *store.Proxy) bool {
			return !p.Inactive && p.Alias == "x" && len(p.CredentialIDs) == 2 && p.Head == head
		}, nil},
		{"the single field says what it said", full, object{"proxyProxyCredentialId": "a"}, func(p *store.Proxy) bool { return len(p.CredentialIDs) == 2 }, nil},
		{"the single field says another", full, object{"proxyProxyCredentialId": "b"}, func(p *store.Proxy) bool { return reflect.DeepEqual(p.CredentialIDs, []string{"b"}) }, nil},
		{"null", full, object{"proxyAlias": nil, "proxyActive": nil, "proxyDefaultRuleEffect": nil, "proxyMaxBody": nil, "proxyEncodedSlash": nil}, func(p *store.Proxy) bool {
			return p.Alias == "" && !p.Inactive && p.Default == "" && p.MaxBody == 0 && p.EncodedSlash == ""
		}, nil},
		{"no callers", full, object{"proxyProxyCredentialIds": []string{}}, nil, []string{"/proxyProxyCredentialId: missing"}},
		{"what is fixed", full, object{"proxyRegion": "us", "proxyId": "x"}, nil, []string{"/proxyId: cannot be changed", "/proxyRegion: it is fixed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, err := wire.DecodeProxy(body(t, tt.body), tt.old)
			expect(t, err, tt.faults...)
			if err == nil && !tt.want(p) {
				t.Errorf("got %+v", p)
			}
		})
	}
	if again, err := wire.DecodeProxy(body(t, wire.ShowProxy(full)), full); err != nil || !reflect.DeepEqual(again, full) {
		t.Errorf("sent back as shown it is %+v, %v", again, err)
	}
	if text := string(body(t, wire.ShowProxy(&store.Proxy{}))); !strings.Contains(text, `"proxyProxyCredentialIds":[]`) {
		t.Errorf("no list in %s", text)
	}
}

func TestTargets(t *testing.T) {
	full := &store.Target{Head: head, Name: "t", URL: "https://a.test/v2", TestPath: "/health", Region: "eu", InsecureHTTP: true, Default: "allow"}
	for _, tt := range []struct {
		name, body string
		old        *store.Target
		faults     []string
	}{
		{"the documentation's", `{"targetName":"t","targetBaseURL":"https://api.example.com/v2","targetTestPath":"/health","targetRegion":"us-east-1","targetDefaultRuleEffect":"allow"}`, nil, nil},
		{"h2c", `{"targetName":"t","targetBaseURL":"h2c://10.0.0.7:8080"}`, nil, nil},
		{"nothing", `{}`, nil, []string{"/targetName: missing", "/targetBaseURL: missing"}},
		{"a password", `{"targetName":"t","targetBaseURL":"https://u:` + canary + `@a.test"}`, nil, []string{"/targetBaseURL: a user or password"}},
		{"a query", `{"targetName":"t","targetBaseURL":"https://a.test?key=` + canary + `"}`, nil, []string{"/targetBaseURL: query or fragment"}},
		{"a fragment", `{"targetName":"t","targetBaseURL":"https://a.test#"}`, nil, []string{"/targetBaseURL: query or fragment"}},
		{"no URL", `{"targetName":"t","targetBaseURL":"https://a b:` + canary + `"}`, nil, []string{"/targetBaseURL: it is not a URL"}},
		{"no host", `{"targetName":"t","targetBaseURL":"https:///v2"}`, nil, []string{"/targetBaseURL: it is not a URL"}},
		{"no scheme", `{"targetName":"t","targetBaseURL":"api.test"}`, nil, []string{"/targetBaseURL: it is not a URL"}},
		{"another scheme", `{"targetName":"t","targetBaseURL":"ftp://a.test"}`, nil, []string{"/targetBaseURL: its scheme has to be https, http or h2c"}},
		{"another path", `{"targetName":"t","targetBaseURL":"https://a.test","targetTestPath":"health"}`, nil, []string{"/targetTestPath: begins with a slash"}},
		{"a path with a space", `{"targetName":"t","targetBaseURL":"https://a.test","targetTestPath":"/a b"}`, nil, []string{"/targetTestPath: begins with a slash"}},
		{"transport", `{"targetName":"t","targetBaseURL":"https://a.test","transport":{}}`, nil, []string{"/transport: only a configuration"}},
		{"a spelling", `{"targetName":"t","targetBaseUrl":"https://a.test"}`, nil, []string{"/targetBaseUrl: did you mean targetBaseURL?", "/targetBaseURL: missing"}},
		{"what is fixed", `{"targetRegion":"us"}`, full, []string{"/targetRegion: it is fixed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.DecodeTarget([]byte(tt.body), tt.old)
			expect(t, err, tt.faults...)
		})
	}
	if again, err := wire.DecodeTarget(body(t, wire.ShowTarget(full)), full); err != nil || !reflect.DeepEqual(again, full) {
		t.Errorf("sent back as shown it is %+v, %v", again, err)
	}
	changed, err := wire.DecodeTarget([]byte(`{"targetTestPath":null,"targetInsecureHTTP":false}`), full)
	if err != nil || changed.TestPath != "" || changed.InsecureHTTP || changed.URL != full.URL {
		t.Errorf("got %+v, %v", changed, err)
	}
	declared := &store.Target{Head: store.Head{ID: "x", Client: "default", Declared: true}, Name: "t", URL: "https://a.test"}
	same(t, wire.ShowTarget(declared), object{"pKey": "default", "sKey": "x", "clientId": "default", "parentId": "default", "declared": true, "targetId": "x", "targetName": "t", "targetBaseURL": "https://a.test"})
}

func TestClients(t *testing.T) {
	old := &store.Client{Head: store.Head{ID: "acme", Client: "acme", CreatedAt: now, UpdatedAt: now}, Name: "Acme"}
	for _, tt := range []struct {
		name, body string
		old        *store.Client
		id         string
		faults     []string
	}{
		{"a name alone", `{"clientName":"Acme & Söhne"}`, nil, "", nil},
		{"an id", `{"clientName":"Acme","clientId":"acme-1"}`, nil, "acme-1", nil},
		{"an id with a slash", `{"clientName":"Acme","clientId":"a/b"}`, nil, "", []string{"/clientId: letters, digits"}},
		{"an empty id", `{"clientName":"Acme","clientId":""}`, nil, "", []string{"/clientId: leave it out"}},
		{"limits", `{"clientName":"Acme","configuration":{"limits":{}},"clientMembers":[]}`, nil, "", []string{"/clientMembers: members are not supported", "/configuration: limits of requests are not"}},
		{"another name", `{"clientName":"Other"}`, old, "acme", nil},
		{"another id", `{"clientId":"other"}`, old, "acme", []string{"/clientId: cannot be changed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := wire.DecodeClient([]byte(tt.body), tt.old)
			expect(t, err, tt.faults...)
			if err == nil && c.ID != tt.id {
				t.Errorf("got %+v", c)
			}
		})
	}
	same(t, wire.ShowClient(old), object{"pKey": "acme", "sKey": "acme", "clientId": "acme", "parentId": "acme", "clientName": "Acme", "clientCreatedAt": now, "clientUpdatedAt": now})
	if again, err := wire.DecodeClient(body(t, wire.ShowClient(old)), old); err != nil || *again != *old {
		t.Errorf("sent back as shown it is %+v, %v", again, err)
	}
}

func TestBlocks(t *testing.T) {
	full := &store.Block{Head: head, Subject: "s", Before: now, ExpiresAt: now.Add(time.Hour), Note: "why\nnot"}
	for _, tt := range []struct {
		name, body string
		old        *store.Block
		faults     []string
	}{
		{"a token", `{"jti":"x","expiresAt":"2027-02-01T00:00:00+01:00","note":"n"}`, nil, nil},
		{"a subject", `{"sub":"s","before":"2027-02-01T00:00:00.5Z"}`, nil, nil},
		{"an issuer", `{"iss":"https://a.test/"}`, nil, nil},
		{"nothing", `{}`, nil, []string{": one of jti, sub and iss"}},
		{"two", `{"iss":"a","jti":"b"}`, nil, []string{": one of jti, sub and iss"}},
		{"a time of nobody", `{"jti":"b","before":"2027-02-01T00:00:00Z"}`, nil, []string{"/before: tokens of a subject"}},
		{"types", `{"jti":1,"before":2,"expiresAt":"x"}`, nil, []string{"/before: it is a number", "/expiresAt: RFC 3339", "/jti: it is a number"}},
		{"a control character", `{"jti":"b","note":"a\u0007"}`, nil, []string{"/note: control character"}},
		{"another kind of entry", `{"jti":"b"}`, full, []string{": one of jti, sub and iss"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := wire.DecodeBlock([]byte(tt.body), tt.old)
			expect(t, err, tt.faults...)
		})
	}
	if again, err := wire.DecodeBlock(body(t, wire.ShowBlock(full)), full); err != nil || !reflect.DeepEqual(again, full) {
		t.Errorf("sent back as shown it is %+v, %v", again, err)
	}
	b, err := wire.DecodeBlock([]byte(`{"sub":null,"before":null,"jti":"x"}`), full)
	if err != nil || b.TokenID != "x" || b.Subject != "" || !b.Before.IsZero() {
		t.Errorf("got %+v, %v", b, err)
	}
}

func TestChecks(t *testing.T) {
	c, err := wire.DecodeCheck([]byte(`{"method":"POST","path":"/v1/charges?x=%2F","headers":{"authorization":"Bearer ` + canary + `","X-A":["1","2"],"Host":"gw.test"},"body":{"b":1.50,"a":"<"}}`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != "POST" || r.URL.Path != "/v1/charges" || r.URL.RawQuery != "x=%2F" || r.RequestURI != "/v1/charges?x=%2F" || r.Host != "gw.test" ||
		r.Header.Get("Authorization") != "Bearer "+canary || len(r.Header["X-A"]) != 2 || r.Header.Get("Content-Type") != "application/json" || r.ContentLength != int64(len(c.Body)) {
		t.Errorf("got %+v", r)
	}
	same(t, string(c.Body), `{"a":"\u003c","b":1.50}`)
	if text := fmt.Sprintf("%v %+v %#v", c, *c, c); strings.Contains(text, canary) {
		t.Errorf("the caller's credential is in %s", text)
	}
	for _, tt := range []struct {
		name, body string
		faults     []string
	}{
		{"a path alone", `{"path":"/"}`, nil},
		{"a query by name", `{"path":"/","query":{"a":["1","2"],"b":"&"},"body":"text"}`, nil},
		{"nothing", `{}`, []string{"/path: begins with a slash"}},
		{"a URL", `{"path":"https://a.test/"}`, []string{"/path: begins with a slash"}},
		{"two queries", `{"path":"/?a=1","query":"b=2"}`, []string{"/query: the path has a query already"}},
		{"no query", `{"path":"/","query":"a b"}`, []string{"/query: it is not a query"}},
		{"a query of another type", `{"path":"/","query":3}`, []string{"/query: it is a number"}},
		{"no method", `{"path":"/","method":"a b"}`, []string{"/method: not a method"}},
		{"no header", `{"path":"/","headers":{"a b":"` + canary + `","X":"a\nb","Y":[1]}}`, []string{"/headers/X: has a value that no header", "/headers/Y: it is a number", "/headers/a b: not the name of a header"}},
		{"not known", `{"path":"/","header":{}}`, []string{"/header: did you mean headers?"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := wire.DecodeCheck([]byte(tt.body))
			expect(t, err, tt.faults...)
			if err == nil {
				if _, err := c.Request(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestPointer(t *testing.T) {
	for _, tt := range [][3]string{
		{"credentials", "", ""}, {"credentials", "name", "/credentialName"}, {"credentials", "spec", "/credentialSecret"}, {"credentials", "hosts/0", "/credentialHosts/0"},
		{"credentials", "spec/private_key", "/credentialSecret/privateKey"}, {"credentials", "spec/jwks_url", "/credentialSecret/jwksUri"}, {"credentials", "spec/from/0/name", "/credentialSecret/from/0/name"},
		{"proxies", "target_credential_id", "/proxyTargetCredentialId"}, {"proxies", "credential_ids", "/proxyProxyCredentialIds"}, {"targets", "url", "/targetBaseURL"}, {"clients", "name", "/clientName"},
		{"blocklist", "jti", "/jti"}, {"targets", "rules/3/path_regexp", "/rules/3/path/path/pattern"}, {"rules", "rules/0/claims/1", "/token/1"}, {"rules", "rules/0", ""}, {"targets", "other", "/other"},
	} {
		if got := wire.Pointer(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%s %s: %s, want %s", tt[0], tt[1], got, tt[2])
		}
	}
}
