package inject

import (
	"strings"
	"testing"
)

func TestBinding(t *testing.T) {
	for _, tt := range []struct {
		binding string
		allows  string // scheme host port, several separated by ;
		refuses string
	}{
		{"api.stripe.com", "https api.stripe.com 443; https API.Stripe.COM. 443", "http api.stripe.com 80; https api.stripe.com 8443; https evil-api.stripe.com 443; https api.stripe.com.evil.test 443; https stripe.com 443"},
		{"https://api.example.com:8443", "https api.example.com 8443", "https api.example.com 443"},
		{"http://10.0.0.7", "http 10.0.0.7 80; http ::ffff:10.0.0.7 80", "https 10.0.0.7 443; http 10.0.0.8 80"},
		{"*.example.com", "https a.example.com 443", "https example.com 443; https a.b.example.com 443; https .example.com 443; https aexample.com 443"},
		{"[::1]:8443", "https ::1 8443; https 0:0:0:0:0:0:0:1 8443", "https ::2 8443"},
		{"bücher.example", "https xn--bcher-kva.example 443; https BÜCHER.example 443", "https bucher.example 443"},
		{"db_1.internal", "https db_1.internal 443", "https db-1.internal 443"},
	} {
		b, err := ParseBinding(tt.binding)
		if err != nil {
			t.Errorf("%s: %v", tt.binding, err)
			continue
		}
		check := func(list string, want bool) {
			for _, where := range strings.Split(list, "; ") {
				p := strings.Fields(where)
				if len(p) == 3 && b.Allows(p[0], p[1], p[2]) != want {
					t.Errorf("%s and %s: got %v", tt.binding, where, !want)
				}
			}
		}
		check(tt.allows, true)
		check(tt.refuses, false)
	}
	for _, bad := range []string{
		"", "ftp://a.test", "a.test/path", "user@a.test", "*.com", "a.*.test", "*a.test", "**.a.test", "a.test:0",
		"a.test:x", "a b", "https://", "::1:8443:", "{env.HOST}", "a.test?x", "-",
	} {
		if _, err := ParseBinding(bad); err == nil {
			t.Errorf("%q is taken for a binding", bad)
		}
	}
}

func TestTargetURL(t *testing.T) {
	for _, tt := range []struct{ url, dial, authority, base string }{
		{"https://api.stripe.com", "api.stripe.com:443", "api.stripe.com", ""},
		{"https://API.Stripe.com:443/", "api.stripe.com:443", "api.stripe.com", ""},
		{"https://api.example.com:8443/v2/", "api.example.com:8443", "api.example.com:8443", "/v2"},
		{"http://127.0.0.1:9000/a%20b", "127.0.0.1:9000", "127.0.0.1:9000", "/a%20b"},
		{"h2c://[::1]:50051", "[::1]:50051", "[::1]:50051", ""},
		{"https://[::1]", "[::1]:443", "[::1]", ""},
	} {
		got, err := parseTarget(tt.url)
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		if got.dial != tt.dial || got.authority != tt.authority || got.escapedBase != tt.base {
			t.Errorf("%s: dial %s, authority %s, base %s", tt.url, got.dial, got.authority, got.escapedBase)
		}
	}
	for _, bad := range []string{
		"", "api.stripe.com", "https://", "ftp://a.test", "https://user:pass@a.test", "https://a.test?x=1", "https://a.test/#f",
		"https://a.test/../b", "https://a.test//b", "https://a.test/%2e%2e/", "https://a.test:99999",
	} {
		if _, err := parseTarget(bad); err == nil {
			t.Errorf("%q is taken for a target", bad)
		} else if strings.Contains(err.Error(), "pass@") {
			t.Errorf("%q: the error shows the password: %v", bad, err)
		}
	}
}
