package jwks

import (
	"fmt"
	"github.com/caddy-rr/caddy-rr/internal/discovery"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	openIDURL = issuerURL + "/.well-known/openid-configuration"
	oauthURL  = "https://issuer.example/.well-known/oauth-authorization-server/tenant"
)

func discovering(c *Config) { c.URL, c.Issuer = "", issuerURL }

func configuration(issuer, jwksURI string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q,"token_endpoint":"https://issuer.example/token"}`, issuer, jwksURI)
}

func TestDiscovery(t *testing.T) {
	for _, address := range []string{openIDURL, oauthURL} {
		bubble(t, func(t *testing.T) {
			i := newIssuer("a")
			i.documents[address] = configuration(issuerURL, keysURL)
			s := newSource(i, discovering)
			start(t, s)
			expectFound(t, s, "a")
			expectUnknown(t, s, "x")
			expectFetches(t, i, openIDURL, 1)
			expectFetches(t, i, keysURL, 2) // a kid that is not known is no reason to discover
			pass(16 * time.Minute)
			expectFetches(t, i, openIDURL, 2)
			expectFetches(t, i, keysURL, 3)
		})
	}
}

func TestDiscoveryURLs(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://a.example":           "https://a.example/.well-known/openid-configuration https://a.example/.well-known/oauth-authorization-server",
		"https://a.example/":          "https://a.example/.well-known/openid-configuration https://a.example/.well-known/oauth-authorization-server",
		"https://a.example:8443/x/y":  "https://a.example:8443/x/y/.well-known/openid-configuration https://a.example:8443/.well-known/oauth-authorization-server/x/y",
		"https://a.example/x/":        "https://a.example/x/.well-known/openid-configuration https://a.example/.well-known/oauth-authorization-server/x",
		"https://a.example/x%2Fy":     "https://a.example/x%2Fy/.well-known/openid-configuration https://a.example/.well-known/oauth-authorization-server/x%2Fy",
		"https://a.example/x?y":       "",
		"https://a.example/x?":        "",
		"https://a.example/\x7f":      "",
		"http://localhost:8080/realm": "http://localhost:8080/realm/.well-known/openid-configuration http://localhost:8080/.well-known/oauth-authorization-server/realm",
	} {
		got, err := discovery.URLs(issuer)
		if strings.Join(got, " ") != want || (err == nil) != (want != "") {
			t.Errorf("%q: %v %v", issuer, got, err)
		}
	}
}

func TestDiscoveryIsRefused(t *testing.T) {
	for name, tt := range map[string]struct{ document, reason string }{
		"another issuer":    {configuration("https://evil.example", keysURL), `"https://evil.example"`},
		"slash":             {configuration(issuerURL+"/", keysURL), "slash"},
		"case":              {configuration(strings.ToUpper(issuerURL), keysURL), "configured is"},
		"no issuer":         {`{"jwks_uri":"` + keysURL + `"}`, "issuer"},
		"issuer is a list":  {`{"issuer":["` + issuerURL + `"],"jwks_uri":"` + keysURL + `"}`, "issuer"},
		"issuer twice":      {`{"issuer":"https://evil.example","issuer":"` + issuerURL + `","jwks_uri":"` + keysURL + `"}`, "twice"},
		"no jwks_uri":       {`{"issuer":"` + issuerURL + `"}`, "no jwks_uri"},
		"jwks_uri is http":  {configuration(issuerURL, "http://issuer.example/keys"), "https"},
		"jwks_uri is file":  {configuration(issuerURL, "file:///etc/passwd"), "https"},
		"jwks_uri has user": {configuration(issuerURL, "https://u:p@issuer.example/keys"), "user name"},
		"jwks_uri is empty": {configuration(issuerURL, ""), "no jwks_uri"},
		"HTML":              {"<html>", "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				i := newIssuer("a")
				i.documents[openIDURL] = tt.document
				s := newSource(i, discovering)
				start(t, s)
				expectUnavailable(t, s, "a")
				expectFetches(t, i, keysURL, 0)
				if err := s.Stats().LastError; err == nil || !strings.Contains(err.Error(), tt.reason) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

func TestDiscoveryFailsLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.documents[openIDURL] = configuration(issuerURL, keysURL)
		logs, logged := withLog()
		s := newSource(i, discovering, logged)
		start(t, s)
		i.set(func() { delete(i.documents, openIDURL) })
		i.show("b")
		pass(30 * time.Minute)
		expectFound(t, s, "b") // from where the keys were
		pass(2 * time.Hour)
		if n := logs.FilterMessageSnippet("discovery failed").Len(); n < 2 || n > 15 {
			t.Errorf("%d lines", n)
		}
		i.set(func() { i.documents[openIDURL] = configuration(issuerURL, "http://issuer.example/keys") })
		i.show("b2")
		pass(30 * time.Minute)
		if kids := kidsOf(s.Set()); !slices.Equal(kids, []string{"b2"}) {
			t.Errorf("the keys are %v", kids)
		}
		const moved = "https://issuer.example/moved"
		i.set(func() {
			i.documents[openIDURL] = configuration(issuerURL, moved)
			i.documents[moved] = keySet("c")
		})
		pass(30 * time.Minute)
		expectFound(t, s, "c")
	})
}

func TestHangingDiscoveryIsTriedOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		i := newIssuer("a")
		i.hang = true
		s := newSource(i, discovering)
		s.Start()
		defer s.Stop()
		pass(5 * time.Second)
		expectFetches(t, i, openIDURL, 1)
		expectFetches(t, i, oauthURL, 0)
		if s.Stats().LastError == nil {
			t.Error("no error")
		}
	})
}

func TestTrustAndHeadersAreForTheOriginOnly(t *testing.T) {
	const elsewhere = "https://keys.example/keys"
	calls := 0
	withHeader := func(c *Config) {
		c.Header = func() http.Header {
			calls++
			return http.Header{"Authorization": {fmt.Sprint("Bearer s3cret", calls)}}
		}
	}
	for name, tt := range map[string]struct {
		change func(*Config)
		want   []string
	}{
		"url":       {func(*Config) {}, []string{keysURL + " true Bearer s3cret1"}},
		"same":      {discovering, []string{openIDURL + " true Bearer s3cret1", keysURL + " true Bearer s3cret2"}},
		"elsewhere": {discovering, []string{openIDURL + " true Bearer s3cret1", elsewhere + " false "}},
	} {
		t.Run(name, func(t *testing.T) {
			calls = 0
			bubble(t, func(t *testing.T) {
				i := newIssuer("a")
				i.documents[elsewhere] = keySet("a")
				i.documents[openIDURL] = configuration(issuerURL, keysURL)
				if name == "elsewhere" {
					i.documents[openIDURL] = configuration(issuerURL, elsewhere)
				}
				logs, logged := withLog()
				s := newSource(i, withHeader, tt.change, logged)
				start(t, s)
				expectFound(t, s, "a")
				var got []string
				for _, r := range i.requests {
					got = append(got, fmt.Sprint(r.url, " ", r.own, " ", r.header.Get("Authorization")))
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("the requests are %q, want %q", got, tt.want)
				}
				for _, line := range logs.All() {
					if strings.Contains(fmt.Sprint(line.Message, line.ContextMap()), "s3cret") {
						t.Errorf("the log has the header: %v", line)
					}
				}
			})
		})
	}
}
