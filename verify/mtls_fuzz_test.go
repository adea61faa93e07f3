package verify

import (
	"crypto/x509"
	"net/url"
	"path"
	"strings"
	"testing"
)

// FuzzMTLSURI: no URI of a certificate is taken for one of another host or place.
func FuzzMTLSURI(f *testing.F) {
	for _, s := range []string{
		"spiffe://example.org/ns/a/sa/api", "spiffe://example.org/ns/../sa/api", "spiffe://example.org/ns/a%2Fb/sa/api", "spiffe://u@example.org/ns/a/sa/api",
		"spiffe://example.org:1/ns/a/sa/api", "spiffe://example.org/ns/a/sa/api?x", "https://example.org/ns/a/sa/api", "spiffe:/example.org/ns/a/sa/api",
	} {
		f.Add(s)
	}
	p, err := newURIPattern("spiffe://example.org/ns/*/sa/api")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil || !p.matches(u, &x509.Certificate{URIs: []*url.URL{u}}) {
			return
		}
		segments := strings.Split(u.Path, "/")
		if u.Scheme != "spiffe" || u.Host != "example.org" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" ||
			path.Clean(u.Path) != u.Path || len(segments) != 5 || segments[1] != "ns" || segments[3] != "sa" || segments[4] != "api" {
			t.Errorf("%q is taken for %v", s, p.segments)
		}
	})
}
