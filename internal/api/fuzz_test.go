package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/api"
)

// FuzzBodies sends any body to every operation that takes one: nothing panics or fails in
// the gateway, and what is refused is a problem that says where.
func FuzzBodies(f *testing.F) {
	var ids []string
	operations := documentOf(f).operations()
	for id, o := range operations {
		if o.op["requestBody"] != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for i, id := range ids {
		o := operations[id]
		f.Add(uint8(i), []byte(o.body(f)))
		f.Add(uint8(i), []byte(`{"a":`+strings.Repeat("[", 70)+strings.Repeat("]", 70)+`}`))
		for _, bad := range []string{``, `null`, `[]`, `7`, `{}`, `{"":0,"":1}`, "{\"a\":\"\x00\"}", `{"a":"\ud800"}`, `{"/~":{}}`, "\xff"} {
			f.Add(uint8(i), []byte(bad))
		}
	}
	for _, body := range []string{
		`{"credentialName":"a","credentialType":"target","credentialAuthType":"jwt","credentialSecret":{"privateKey":"-----BEGIN","algorithm":"RS256","claims":{"iss":"a"}}}`,
		`{"credentialName":"a","credentialType":"proxy","credentialAuthType":"jwtVerify","credentialSecret":{"jwksUri":"https://a/","audience":"b","issuer":"c"}}`,
		`{"clients":[{"clientName":"x"}],"targets":[{"targetId":"t","targetName":"t","targetBaseURL":"https://a.example"}],"proxies":[{"proxyId":"p"}]}`,
		`{"effect":"deny","headers":[{"name":{"pattern":"^a$"},"value":{"pattern":"b","flags":"i"},"presence":"must_not_exist"}],"body":[{"jsonPath":{"pattern":".*"}}]}`,
	} {
		for i := range ids {
			f.Add(uint8(i), []byte(body))
		}
	}
	k := newKit(f, func(o *api.Options) { o.BaseURL = "https://gateway.example" })
	things := k.things("acme")
	restore := k.fake.snapshot()
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		k.t = t
		k.answers.Reset()
		restore()
		o := operations[ids[int(which)%len(ids)]]
		a := k.call(o.method, concrete(o.path, "acme", things), string(body), contentType("application/json"))
		if a.StatusCode/100 == 2 || a.StatusCode == http.StatusConflict {
			return
		}
		var p api.Problem
		if err := json.Unmarshal(a.body, &p); err != nil || a.StatusCode/100 != 4 || len(p.Errors) == 0 {
			t.Fatalf("%s with %q: %d %s", o.op["operationId"], body, a.StatusCode, a.body)
		}
		for _, e := range p.Errors {
			if e.Pointer == nil || !wellFormed(*e.Pointer) {
				t.Errorf("%s with %q: %s", o.op["operationId"], body, a.body)
			}
		}
	})
}

// wellFormed reports whether a text is a JSON pointer (RFC 6901).
func wellFormed(pointer string) bool {
	return pointer == "" || pointer[0] == '/' && !strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(pointer), "~")
}
