package inject

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// nasty are secrets that would be something else than a value if they were written as
// they are.
var nasty = map[string]string{
	"quotes":       `a","admin":true,"x":"`,
	"a line break": "a\r\nX-Evil: 1\n\n",
	"backslash":    `a\`,
	"form":         "a&user=root&x=1+2%20;",
	"a path":       "../../admin?x=1#y",
	"markup":       `</password><admin/>&amp;"'`,
	"placeholders": "{env.HOME}{secret.b}{http.request.header.X}",
	"unicode":      "pä\u2028ß\U0001F600\x00",
	"separators":   " a b\t",
}

// built is the request that a custom_token with these options makes.
func built(t testing.TB, c *CustomToken, values map[string]string) (*http.Request, string, error) {
	t.Helper()
	for name := range values {
		if c.Secrets == nil {
			c.Secrets = map[string]secret.String{}
		}
		c.Secrets[strings.TrimPrefix(name, "secret.")] = "{env.X}"
	}
	if c.URL == "" {
		c.URL = "https://as.example/login"
	}
	r, err := newTokenRequest(c)
	if err != nil {
		t.Fatal(err)
	}
	req, err := r.build(t.Context(), values)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	return req, string(body), nil
}

// TestSecretsStayValues: whatever a secret holds, the endpoint reads it back as the value
// that it is, and nothing around it changes.
func TestSecretsStayValues(t *testing.T) {
	for name, nasty := range nasty {
		values := map[string]string{"secret.a": nasty, "secret.b": "b"}
		t.Run("JSON/"+name, func(t *testing.T) {
			_, body, err := built(t, &CustomToken{Body: `{"user":"svc","password":"{secret.a}","list":["<{secret.a}>"],"b":"{secret.b}"}`}, values)
			var got map[string]any
			if err != nil || json.Unmarshal([]byte(body), &got) != nil {
				t.Fatalf("%s: %v", body, err)
			}
			want := map[string]any{"user": "svc", "password": nasty, "list": []any{"<" + nasty + ">"}, "b": "b"}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s is read as %v", body, got)
			}
		})
		t.Run("form/"+name, func(t *testing.T) {
			_, body, err := built(t, &CustomToken{Body: `user=svc&password={secret.a}&b={secret.b}`}, values)
			got, parseErr := url.ParseQuery(body)
			want := url.Values{"user": {"svc"}, "password": {nasty}, "b": {"b"}}
			if err != nil || parseErr != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s is read as %v (%v %v)", body, got, err, parseErr)
			}
		})
		t.Run("URL/"+name, func(t *testing.T) {
			req, _, err := built(t, &CustomToken{URL: "https://as.example/t/{secret.a}/login?key={secret.a}&b={secret.b}"}, values)
			if err != nil {
				t.Fatal(err)
			}
			if req.URL.Host != "as.example" || req.URL.Path != "/t/"+nasty+"/login" || strings.Count(req.URL.EscapedPath(), "/") != 3 || req.URL.Fragment != "" {
				t.Errorf("the URL is %s", req.URL)
			}
			if got := req.URL.Query(); !reflect.DeepEqual(got, url.Values{"key": {nasty}, "b": {"b"}}) {
				t.Errorf("the query is %v", got)
			}
		})
		t.Run("header/"+name, func(t *testing.T) {
			req, _, err := built(t, &CustomToken{RequestHeaders: map[string]string{"X-Key": "key {secret.a}", "x-b": "{secret.b}"}}, values)
			if strings.ContainsAny(nasty, "\r\n\x00") {
				if err == nil || strings.Contains(err.Error(), nasty) || !strings.Contains(err.Error(), "request_header X-Key: a part has characters") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || req.Header.Get("X-Key") != "key "+nasty || req.Header.Get("X-B") != "b" || len(req.Header) != 3 {
				t.Errorf("%v %v", req, err)
			}
		})
		t.Run("basic/"+name, func(t *testing.T) {
			req, _, err := built(t, &CustomToken{Basic: &BasicParts{"svc-{secret.b}", "{secret.a}"}}, values)
			if err != nil {
				t.Fatal(err)
			}
			if user, password, ok := req.BasicAuth(); !ok || user != "svc-b" || password != nasty {
				t.Errorf("%q %q", user, password)
			}
		})
		t.Run("XML/"+name, func(t *testing.T) {
			_, body, err := built(t, &CustomToken{
				Body:           `<login b='{secret.b}'><password>{secret.a}</password></login>`,
				RequestHeaders: map[string]string{"content-type": "application/soap+xml; charset=utf-8"},
			}, values)
			if strings.Contains(nasty, "\x00") {
				if err == nil || strings.Contains(err.Error(), "ß") {
					t.Errorf("%s %v", body, err)
				}
				return
			}
			if err != nil || strings.Count(body, "<") != 4 || strings.Contains(body, "</password><admin") {
				t.Errorf("%s %v", body, err)
			}
		})
		t.Run("text/"+name, func(t *testing.T) {
			_, body, err := built(t, &CustomToken{Body: `pw {secret.a}{secret.b}`, RequestHeaders: map[string]string{"Content-Type": "text/plain"}}, values)
			if err != nil || body != "pw "+nasty+"b" {
				t.Errorf("%q %v", body, err)
			}
		})
	}
	for name, c := range map[string]*CustomToken{
		"a dot as segment":  {URL: "https://as.example/{secret.a}/x"},
		"empty":             {Body: `{"p":"{secret.b}"}`, URL: "https://as.example/{secret.c}?{secret.a}"},
		"a colon in a user": {Basic: &BasicParts{"{secret.d}", "{secret.a}{secret.b}"}},
		"not UTF-8":         {Body: `{"p":"{secret.e}"}`, URL: "https://as.example/?{secret.a}"},
	} {
		values := map[string]string{}
		for name, v := range map[string]string{"secret.a": "..", "secret.b": "", "secret.c": "c", "secret.d": "a:b", "secret.e": "\xff\xfe"} {
			if text := c.URL + c.Body; strings.Contains(text, name) || c.Basic != nil && strings.Contains(c.Basic.Username+c.Basic.Password, name) {
				values[name] = v
			}
		}
		if _, _, err := built(t, c, values); err == nil {
			t.Errorf("%s: it is sent", name)
		}
	}
}

func TestRequestsAsTheyAre(t *testing.T) {
	req, body, err := built(t, &CustomToken{}, nil)
	if err != nil || req.Method != "POST" || body != "" || req.ContentLength != 0 || req.Header.Get("Content-Type") != "" || !strings.HasPrefix(req.Header.Get("Accept"), "application/json") {
		t.Errorf("%+v %v", req, err)
	}
	for _, tt := range []struct {
		c    *CustomToken
		body string
		typ  string
	}{
		{&CustomToken{Body: `{"a":"{secret.a}"}`}, `{"a":"s"}`, "application/json"},
		{&CustomToken{Body: `{"query":"{ login(p: \"{secret.a}\") { token } }"}`}, `{"query":"{ login(p: \"s\") { token } }"}`, "application/json"},
		{&CustomToken{Body: `{"{secret.a}":1}`}, `{"s":1}`, "application/json"},
		{&CustomToken{Body: `a={secret.a}`}, `a=s`, "application/x-www-form-urlencoded"},
		{&CustomToken{Body: `a={secret.a}`, Method: "PUT", RequestHeaders: map[string]string{"content-type": "application/x-www-form-urlencoded; charset=utf-8"}}, `a=s`, "application/x-www-form-urlencoded; charset=utf-8"},
		{&CustomToken{Body: `{"a":"{secret.a}"}`, RequestHeaders: map[string]string{"Content-Type": "application/vnd.api+json"}}, `{"a":"s"}`, "application/vnd.api+json"},
		{&CustomToken{Body: `{secret.a}`, RequestHeaders: map[string]string{"Content-Type": "application/octet-stream"}}, `s`, "application/octet-stream"},
	} {
		req, body, err := built(t, tt.c, map[string]string{"secret.a": "s"})
		if err != nil || body != tt.body || req.Header.Get("Content-Type") != tt.typ || int(req.ContentLength) != len(body) {
			t.Errorf("%s: %s %s %v", tt.c.Body, body, req.Header, err)
		}
	}
}

func TestCustomTokensThatAreRefused(t *testing.T) {
	key := string(idp.NewKey(t, "ES256", "").PrivatePEM())
	ctx, _ := configured(t)
	for _, tt := range []struct {
		name    string
		options map[string]any
		err     string
	}{
		{"no URL", map[string]any{"url": ""}, "url is missing"},
		{"plain http", map[string]any{"url": "http://as.example/"}, "url: as.example: http is for this machine"},
		{"a password in the URL", map[string]any{"url": "https://u:p@as.example/"}, "must not hold a user name"},
		{"a fragment", map[string]any{"url": "https://as.example/#x"}, "no fragment"},
		{"a part as host", map[string]any{"url": "https://{secret.a}.example/", "secrets": map[string]any{"a": "s"}}, "cannot be a part of the host"},
		{"a part as port", map[string]any{"url": "https://as.example:{secret.a}/", "secrets": map[string]any{"a": "s"}}, "cannot be a part of the host"},
		{"a part as all", map[string]any{"url": "{secret.a}", "secrets": map[string]any{"a": "s"}}, "cannot be a part of the host"},
		{"a secret that is not defined", map[string]any{"body": `{"p":"{secret.a}"}`}, "unknown placeholder {secret.a}"},
		{"a placeholder in a text", map[string]any{"body": `{"p":"{env.PASSWORD}"}`}, "define it with `secret x {env.PASSWORD}`"},
		{"the caller in a text", map[string]any{"body": `{"p":"{http.auth.user.sub}"}`}, "one for all callers"},
		{"Caddy's placeholders", map[string]any{"request_headers": map[string]any{"X": "{http.request.header.X}"}}, "request_header X: unknown placeholder"},
		{"a secret for nothing", map[string]any{"secrets": map[string]any{"a": "s"}}, "secret a is not used"},
		{"a jwt for nothing", map[string]any{"jwts": map[string]any{"a": map[string]any{"secret": "s"}}}, "jwt a is not used"},
		{"an empty secret", map[string]any{"secrets": map[string]any{"a": ""}, "body": "x={secret.a}"}, "the secret is empty"},
		{"a strange name", map[string]any{"secrets": map[string]any{"a/b": "s"}, "body": "x={secret.a/b}"}, "a name has letters"},
		{"a secret outside of a text", map[string]any{"secrets": map[string]any{"a": "s"}, "body": `{"p":{secret.a}}`}, "stands inside a text"},
		{"behind a backslash", map[string]any{"secrets": map[string]any{"a": "s"}, "body": `{"p":"\{secret.a}"}`, "request_headers": map[string]any{"Content-Type": "application/json"}}, "not valid JSON"},
		{"broken JSON", map[string]any{"body": `{"p":"x"`}, "neither JSON nor a form"},
		{"broken JSON that is said to be some", map[string]any{"body": `p`, "request_headers": map[string]any{"Content-Type": "application/json"}}, "not valid JSON"},
		{"XML without a word", map[string]any{"body": `<p/>`}, "neither JSON nor a form"},
		{"a type without a body", map[string]any{"request_headers": map[string]any{"Content-Type": "application/json"}}, "there is none"},
		{"a strange type", map[string]any{"body": `p`, "request_headers": map[string]any{"Content-Type": "json"}}, "not a media type"},
		{"a GET with a body", map[string]any{"method": "GET", "body": "a=b"}, "a GET has no body"},
		{"CONNECT", map[string]any{"method": "CONNECT"}, "fetches nothing"},
		{"a strange method", map[string]any{"method": "post"}, "not a method"},
		{"a header of the connection", map[string]any{"request_headers": map[string]any{"connection": "x"}}, "cannot be set"},
		{"Host", map[string]any{"request_headers": map[string]any{"Host": "x"}}, "cannot be set"},
		{"no header name", map[string]any{"request_headers": map[string]any{"X Y": "x"}}, "not a header name"},
		{"a header twice", map[string]any{"request_headers": map[string]any{"X-A": "x", "x-a": "y"}}, "said twice"},
		{"a line break in a header", map[string]any{"request_headers": map[string]any{"X": "a\r\nb"}}, "cannot carry"},
		{"a secret that a header cannot carry", map[string]any{"secrets": map[string]any{"a": "s3cret\nx"}, "request_headers": map[string]any{"X": "{secret.a}"}}, "cannot carry"},
		{"Authorization twice", map[string]any{"basic": map[string]any{"username": "a", "password": "b"}, "request_headers": map[string]any{"authorization": "x"}}, "the same header"},
		{"a password in clear", map[string]any{"basic": map[string]any{"username": "a", "password": "b"}}, "a password in clear"},
		{"basic without a password", map[string]any{"basic": map[string]any{"username": "a"}}, "basic needs"},
		{"no token", map[string]any{"token": map[string]any{}}, "token is missing"},
		{"two tokens", map[string]any{"token": map[string]any{"path": "$.a", "body": true}}, "at one place"},
		{"no path", map[string]any{"token": map[string]any{"path": "access_token"}}, "token: \"access_token\" is not a JSONPath"},
		{"no path for the end", map[string]any{"expires_in": "$.["}, "expires_in: "},
		{"no path for success", map[string]any{"success": map[string]any{"value": "x"}}, "success needs a JSONPath"},
		{"two ends", map[string]any{"expires_in": "$.a", "expires_at": "$.b"}, "exclude each other"},
		{"a long wait", map[string]any{"timeout": "2m"}, "timeout is at most 1m"},
		{"a long life", map[string]any{"ttl": "48h"}, "ttl is at most 24h"},
		{"no certificate", map[string]any{"ca": "abc"}, "ca: "},
		{"a path as place", map[string]any{"to": map[string]any{"in": "path"}}, "header, query parameter or cookie"},
		{"a jwt of the caller", map[string]any{"jwts": map[string]any{"a": map[string]any{"secret": "s", "claims": map[string]any{"sub": "{http.auth.user.sub}"}}}, "body": "x={jwt.a}"}, "one for all callers"},
		{"a jwt without a key", map[string]any{"jwts": map[string]any{"a": map[string]any{}}, "body": "x={jwt.a}"}, "jwt a: a token is signed with"},
		{"a jwt of nothing", map[string]any{"jwts": map[string]any{"a": nil}, "body": "x={jwt.a}"}, "jwt a: "},
		{"a jwt with another's algorithm", map[string]any{"jwts": map[string]any{"a": map[string]any{"private_key": key, "algorithm": "RS256"}}, "body": "x={jwt.a}"}, "jwt a: private_key: "},
		{"an option that there is not", map[string]any{"uri": "x"}, `unknown field "uri"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := map[string]any{"url": "https://as.example/login", "token": map[string]any{"path": "$.t"}}
			for name, v := range tt.options {
				options[name] = v
			}
			v, err := load(t, ctx, "custom_token", options)
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Fatalf("got %v, %v; want %q", v, err, tt.err)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), key[30:60]) {
				t.Errorf("the error has a secret: %v", err)
			}
		})
	}
}

// TestAnswers: a token is read only where there is exactly one, and nothing takes the
// place of one that is not there.
func TestAnswers(t *testing.T) {
	began := time.Now().Truncate(time.Second)
	at := func(path string) TokenIn { return TokenIn{Path: path} }
	const s = `{"t":"tok","data":{"list":[{"v":"a"},{"v":"b"}]},"n":1,"null":null,"empty":"","space":" ","o":{},"l":["x"],"b":true,"f":false,
		"in":60,"text":"90","float":1.5,"zero":0,"neg":-1,"huge":1e400,"word":"soon","inf":"Infinity","hex":"0x10",
		"rfc":"2099-01-02T03:04:05Z","unix":4070908800,"ms":4070908800000,"past":"2001-01-01T00:00:00Z"}`
	in := func(d time.Duration) time.Time { return began.Add(d) }
	future := time.Unix(4070908800, 0)
	for _, tt := range []struct {
		name    string
		c       *CustomToken
		status  int
		header  http.Header
		body    string
		want    string
		expires time.Time // zero: 5 minutes
		err     string
	}{
		{name: "JSON", c: &CustomToken{Token: at("$.t")}, want: "tok"},
		{name: "any 2xx", c: &CustomToken{Token: at("$.t")}, status: 201, want: "tok"},
		{name: "a list's item", c: &CustomToken{Token: at("$.data.list[1].v")}, want: "b"},
		{name: "a filter", c: &CustomToken{Token: at("$.data.list[?@.v=='a'].v")}, want: "a"},
		{name: "nothing", c: &CustomToken{Token: at("$.none")}, err: "token: there is nothing at $.none in the answer"},
		{name: "several", c: &CustomToken{Token: at("$.data.list[*].v")}, err: "there are 2 values at"},
		{name: "a number", c: &CustomToken{Token: at("$.n")}, err: "is a number, not a text"},
		{name: "null", c: &CustomToken{Token: at("$.null")}, err: "is null, not a text"},
		{name: "a boolean", c: &CustomToken{Token: at("$.b")}, err: "is a boolean, not a text"},
		{name: "an object", c: &CustomToken{Token: at("$.o")}, err: "is an object, not a text"},
		{name: "a list", c: &CustomToken{Token: at("$.l")}, err: "is a list, not a text"},
		{name: "empty", c: &CustomToken{Token: at("$.empty")}, err: "token: it is empty"},
		{name: "a space", c: &CustomToken{Token: at("$.space")}, err: "token: it is empty"},
		{name: "a huge token", c: &CustomToken{Token: at("$.t")}, body: `{"t":"` + strings.Repeat("x", maxTokenSize+1) + `"}`, err: "larger than"},
		{name: "a name twice", c: &CustomToken{Token: at("$.t")}, body: `{"t":"a","t":"b"}`, err: "a member twice"},
		{name: "HTML", c: &CustomToken{Token: at("$.t")}, body: `<html>s3cret</html>`, err: "the answer: it is not valid JSON"},
		{name: "no body", c: &CustomToken{Token: at("$.t")}, body: " ", err: "the answer: it is not valid JSON"},
		{name: "401", c: &CustomToken{Token: at("$.t")}, status: 401, body: `{"error":"s3cret"}`, err: "the endpoint answers 401"},
		{name: "500", c: &CustomToken{Token: at("$.t")}, status: 500, err: "the endpoint answers 500"},

		{name: "success", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.b"}}, want: "tok"},
		{name: "success as text", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.n", Value: "1"}}, want: "tok"},
		{name: "success false", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.f"}}, err: "success: the value at $.f is null or false"},
		{name: "success false, as it has to be", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.f", Value: "false"}}, want: "tok"},
		{name: "success null", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.null"}}, err: "is null or false"},
		{name: "success another", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.word", Value: "ok"}}, err: "is another than"},
		{name: "no success", c: &CustomToken{Token: at("$.t"), Success: &Success{Path: "$.none"}}, err: "success: there is nothing at"},

		{name: "header", c: &CustomToken{Token: TokenIn{Header: "x-token"}}, header: http.Header{"X-Token": {"h"}}, body: "no JSON", want: "h"},
		{name: "no header", c: &CustomToken{Token: TokenIn{Header: "X-Token"}}, err: "no header X-Token"},
		{name: "two headers", c: &CustomToken{Token: TokenIn{Header: "X-Token"}}, header: http.Header{"X-Token": {"h", "i"}}, err: "2 headers X-Token"},
		{name: "an empty header", c: &CustomToken{Token: TokenIn{Header: "X-Token"}}, header: http.Header{"X-Token": {""}}, err: "it is empty"},
		{name: "body", c: &CustomToken{Token: TokenIn{Body: true}}, body: "\n tok \r\n", want: "tok"},
		{name: "an empty body", c: &CustomToken{Token: TokenIn{Body: true}}, body: "\r\n", err: "it is empty"},

		{name: "cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"other=x", "sid=abc; Path=/; HttpOnly"}}, want: "abc"},
		{name: "a cookie's life", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid=abc; Max-Age=90"}}, want: "abc", expires: in(90 * time.Second)},
		{name: "a cookie's end", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid=abc; Expires=" + in(time.Hour).UTC().Format(http.TimeFormat)}}, want: "abc", expires: in(time.Hour)},
		{name: "ttl before the cookie's life", c: &CustomToken{Token: TokenIn{Cookie: "sid"}, TTL: 7e9}, header: http.Header{"Set-Cookie": {"sid=abc; Max-Age=90"}}, want: "abc", expires: in(7 * time.Second)},
		{name: "the last cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid=old", "sid=new"}}, want: "new"},
		{name: "no cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"SID=x"}}, err: "sets no cookie sid"},
		{name: "a deleted cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid=x; Max-Age=0"}}, err: "deletes the cookie sid"},
		{name: "an ended cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT"}}, err: "deletes the cookie sid"},
		{name: "an empty cookie", c: &CustomToken{Token: TokenIn{Cookie: "sid"}}, header: http.Header{"Set-Cookie": {"sid="}}, err: "it is empty"},

		{name: "seconds", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.in"}, want: "tok", expires: in(time.Minute)},
		{name: "seconds as text", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.text"}, want: "tok", expires: in(90 * time.Second)},
		{name: "a fraction", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.float"}, want: "tok", expires: in(1500 * time.Millisecond)},
		{name: "huge", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.huge"}, want: "tok", expires: in(365 * 24 * time.Hour)},
		{name: "0", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.zero"}, want: "tok"},
		{name: "negative", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.neg"}, want: "tok"},
		{name: "a word", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.word"}, want: "tok"},
		{name: "Infinity", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.inf"}, want: "tok"},
		{name: "hexadecimal", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.hex"}, want: "tok"},
		{name: "missing", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.none"}, want: "tok"},
		{name: "several lives", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.*"}, want: "tok"},
		{name: "missing, but a ttl", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.none", TTL: 60e9}, want: "tok", expires: in(time.Minute)},
		{name: "said, and a ttl", c: &CustomToken{Token: at("$.t"), ExpiresIn: "$.text", TTL: 60e9}, want: "tok", expires: in(90 * time.Second)},
		{name: "a ttl", c: &CustomToken{Token: at("$.t"), TTL: 60e9}, want: "tok", expires: in(time.Minute)},
		{name: "RFC 3339", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.rfc"}, want: "tok", expires: time.Date(2099, 1, 2, 3, 4, 5, 0, time.UTC)},
		{name: "a time in seconds", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.unix"}, want: "tok", expires: future},
		{name: "a time in milliseconds", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.ms"}, want: "tok", expires: future},
		{name: "a time that is over", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.past"}, want: "tok"},
		{name: "never, which some write so", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.zero"}, want: "tok"},
		{name: "no time", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.word"}, want: "tok"},
		{name: "a huge time", c: &CustomToken{Token: at("$.t"), ExpiresAt: "$.huge"}, want: "tok"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, err := newTokenAnswer(tt.c)
			if err != nil {
				t.Fatal(err)
			}
			res := &fetch.Response{Status: tt.status, Header: tt.header, Body: []byte(tt.body)}
			if res.Status == 0 {
				res.Status = 200
			}
			if tt.body == "" {
				res.Body = []byte(s)
			}
			got, err := a.read(res, began)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("got %q, %v; want %q", got.Value, err, tt.err)
				}
				return
			}
			if err != nil || got.Value != tt.want || got.Expires.Sub(tt.expires).Abs() > 2*time.Second {
				t.Errorf("got %q until %v, %v; want %q until %v", got.Value, got.Expires, err, tt.want, tt.expires)
			}
		})
	}
}

// TestJWTsOfRequests: each request has a token of its own.
func TestJWTsOfRequests(t *testing.T) {
	k := idp.NewKey(t, "RS256", "k1")
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		got = append(got, raw)
		_, _ = io.WriteString(w, "installation-token")
	}))
	defer server.Close()
	ctx, _ := configured(t)
	v, err := load(t, ctx, "custom_token", map[string]any{
		"url": server.URL, "token": map[string]any{"body": true}, "request_headers": map[string]any{"Authorization": "Bearer {jwt.app}"},
		"jwts": map[string]any{"app": map[string]any{"private_key": string(k.PrivatePEM()), "ttl": "9m", "claims": map[string]any{"iss": json.Number("12345")}}},
		"to":   map[string]any{"in": "header", "name": "Authorization", "prefix": "token"},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := v.(*CustomToken)
	defer c.Cleanup()
	r := request(t, "")
	if err := c.Inject(r); err != nil || r.Header.Get("Authorization") != "token installation-token" || !reflect.DeepEqual(c.Slots(), []Slot{{InHeader, "Authorization"}}) {
		t.Fatalf("%v %v", r.Header, err)
	}
	f := c.current.Load().fetch
	if _, err := f(context.Background(), nil); err != nil || len(got) != 2 || got[0] == got[1] {
		t.Fatalf("%d requests, %v", len(got), err)
	}
	for _, raw := range got {
		if token := verified(t, raw, k); token.Claims["iss"] != json.Number("12345") || date(t, token, "exp") < time.Now().Unix()+500 {
			t.Errorf("%v", token.Claims)
		}
	}
}

// TestEndpointsThatFail: what an endpoint does wrong ends in an error that says which and
// why, without anything that was sent or received, and within the timeout.
func TestEndpointsThatFail(t *testing.T) {
	const password, answer = "pass-s3cret-1", "answer-s3cret-2"
	hang := make(chan struct{})
	write := func(status int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"x":"`+answer+`"}`)
		}
	}
	ctx, _ := configured(t)
	elsewhere := rrtest.NewUpstream(t)
	for name, tt := range map[string]struct {
		answers http.HandlerFunc
		err     string
	}{
		"nothing in it": {write(200), "there is nothing at $.t"},
		"401":           {write(401), "the endpoint answers 401"},
		"429":           {write(429, "Retry-After", "30"), "the endpoint answers 429"},
		"500":           {write(500), "the endpoint answers 500"},
		"a redirect":    {write(307, "Location", elsewhere.URL+"/?"+answer), "redirects are not followed"},
		"compressed":    {write(200, "Content-Encoding", "gzip"), "which was not asked for"},
		"HTML":          {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>"+answer) }, "not valid JSON"},
		"hangs":         {func(_ http.ResponseWriter, r *http.Request) { <-hang }, "no token came within"},
		"no HTTP":       {func(w http.ResponseWriter, _ *http.Request) { hijack(w, answer+"\r\n\r\n") }, "not valid HTTP"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"+answer)
		}, "unexpected EOF"},
		"a line break": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"t":"`+answer+`\r\nX: y"}`) }, "characters that header Authorization cannot carry"},
		"a hundred MB": {flood(100 << 20), "too large"},
		"a hundred MB said": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "104857600")
			flood(1<<21)(w, r)
		}, "too large"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tt.answers)
			defer server.Close()
			if name == "hangs" {
				defer close(hang)
			}
			v, err := load(t, ctx, "custom_token", map[string]any{
				"url": server.URL + "/login?k={secret.p}", "token": map[string]any{"path": "$.t"}, "body": `{"p":"{secret.p}"}`,
				"secrets": map[string]any{"p": password}, "timeout": "500ms",
			})
			if err != nil {
				t.Fatal(err)
			}
			c := v.(*CustomToken)
			defer c.Cleanup()
			began := time.Now()
			r := request(t, "")
			err = c.Inject(r)
			if err == nil || !strings.Contains(err.Error(), tt.err) || len(r.Header) > 0 || time.Since(began) > 5*time.Second {
				t.Fatalf("got %v after %v, want %q; the request has %v", err, time.Since(began), tt.err, r.Header)
			}
			for _, s := range []string{password, answer, "/login"} {
				if strings.Contains(err.Error(), s) {
					t.Errorf("the error has %q: %v", s, err)
				}
			}
			if host := strings.TrimPrefix(server.URL, "http://"); name != "hangs" && !strings.Contains(err.Error(), host) {
				t.Errorf("the error does not say that it is %s: %v", host, err)
			}
		})
	}
	if n := len(elsewhere.Received()); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func hijack(w http.ResponseWriter, raw string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_, _ = io.WriteString(conn, raw)
		_ = conn.Close()
	}
}

func flood(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<16)
		for i := 0; i < n; i += len(block) {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
}

// TestTLSOfEndpoints: only certificates that somebody vouches for are taken, and those of
// `ca` besides the system's.
func TestTLSOfEndpoints(t *testing.T) {
	ca, other := rrtest.NewCA(t), rrtest.NewCA(t)
	server := rrtest.NewTLSUpstream(t, ca)
	server.Handle("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tok") }))
	ctx, _ := configured(t)
	for name, tt := range map[string]struct {
		ca string
		ok bool
	}{"its own": {"{file." + ca.File + "}", true}, "another": {"{file." + other.File + "}", false}, "none": {"", false}} {
		v, err := load(t, ctx, "custom_token", map[string]any{"url": server.URL, "token": map[string]any{"body": true}, "ca": tt.ca})
		if err != nil {
			t.Fatal(err)
		}
		if err := v.(*CustomToken).Inject(request(t, "")); (err == nil) != tt.ok || err != nil && !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAddressesOfRecordsAreJudged: what no operator wrote reaches no private address.
func TestAddressesOfRecordsAreJudged(t *testing.T) {
	server := rrtest.NewUpstream(t)
	server.Handle("", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "tok") }))
	options := map[string]any{"url": server.URL, "token": map[string]any{"body": true}}
	record, err := load(t, testContext(t), "custom_token", options)
	if err != nil {
		t.Fatal(err)
	}
	judged := func() {
		t.Helper()
		if err := record.(*CustomToken).Inject(request(t, "")); err == nil || !strings.Contains(err.Error(), "private") {
			t.Errorf("a record of the API reaches it: %v", err)
		}
	}
	judged()
	if n := len(server.Received()); n > 0 {
		t.Errorf("%d requests", n)
	}
	ctx, _ := configured(t)
	written, err := load(t, ctx, "custom_token", options)
	if err != nil {
		t.Fatal(err)
	}
	if err := written.(*CustomToken).Inject(request(t, "")); err != nil {
		t.Error(err)
	}
	judged() // and does not share the token of a configuration that may
}

// FuzzAnswers: an answer is a token or an error, never an empty token.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"t":"x","e":60}`))
	f.Add([]byte(`{"t":["x"],"e":"2099-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"t":" ","e":1e999}`))
	a, err := newTokenAnswer(&CustomToken{Token: TokenIn{Path: "$..t"}, ExpiresAt: "$.e", Success: &Success{Path: "$.t"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if got, err := a.read(&fetch.Response{Status: 200, Body: body}, time.Now()); err == nil && strings.TrimSpace(got.Value) == "" {
			t.Errorf("%q is a token", got.Value)
		}
	})
}

// FuzzSecretsInJSON: whatever the secret is, the endpoint reads it back.
func FuzzSecretsInJSON(f *testing.F) {
	for _, v := range nasty {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		text, err := encodeJSON(v)
		var got string
		if err == nil && (json.Unmarshal([]byte(`"`+text+`"`), &got) != nil || got != v) {
			t.Errorf("%q is read as %q", v, got)
		}
	})
}
