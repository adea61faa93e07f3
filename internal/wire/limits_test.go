package wire_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/wire"
)

// list is so many texts in JSON.
func list(n int, format string) string {
	var texts []string
	for i := range n {
		texts = append(texts, fmt.Sprintf(format, i))
	}
	return "[" + strings.Join(texts, ",") + "]"
}

// TestBodiesAreBounded fills the members of bodies to their bounds, and beyond.
func TestBodiesAreBounded(t *testing.T) {
	credential := func(body string) error {
		_, _, err := wire.DecodeCredential([]byte(body), nil)
		return err
	}
	target := func(body string) error {
		_, err := wire.DecodeTarget([]byte(body), nil)
		return err
	}
	proxy := func(body string) error {
		_, err := wire.DecodeProxy([]byte(body), nil)
		return err
	}
	rule := func(body string) error {
		_, err := wire.DecodeRule([]byte(body), nil)
		return err
	}
	bearer := `{"credentialName":"c","credentialType":"target","credentialAuthType":"bearer","credentialSecret":{"token":%q},"credentialHosts":%s}`
	key := `{"credentialName":"c","credentialType":"proxy","credentialAuthType":"key","credentialSecret":{"keys":%s}}`
	accepts := `{"proxyName":"p","proxyProxyCredentialIds":%s,"proxyTargetId":"t","proxyTargetCredentialId":"x"}`
	for _, tt := range []struct {
		what   string
		decode func(string) error
		body   string
		fault  string // a part of the error; empty: it is taken
	}{
		{"a secret", credential, fmt.Sprintf(bearer, strings.Repeat("s", wire.MaxSecret), `["a.example"]`), ""},
		{"a long secret", credential, fmt.Sprintf(bearer, strings.Repeat("s", wire.MaxSecret+1), `["a.example"]`), "/credentialSecret/token"},
		{"hosts", credential, fmt.Sprintf(bearer, "s3cret", list(wire.MaxListed, `"h%d.example"`)), ""},
		{"many hosts", credential, fmt.Sprintf(bearer, "s3cret", list(wire.MaxListed+1, `"h%d.example"`)), "/credentialHosts: it has 101 elements"},
		{"keys", credential, fmt.Sprintf(key, list(wire.MaxKeys, `"rr_live_0123456789abcdef01234567%02d"`)), ""},
		{"many keys", credential, fmt.Sprintf(key, list(wire.MaxKeys+1, `"rr_live_0123456789abcdef01234567%02d"`)), "/credentialSecret/keys: it has 17 elements"},
		{"a name", target, fmt.Sprintf(`{"targetName":%q,"targetBaseURL":"https://a.example"}`, strings.Repeat("ü", wire.MaxName)), ""},
		{"a long name", target, fmt.Sprintf(`{"targetName":%q,"targetBaseURL":"https://a.example"}`, strings.Repeat("ü", wire.MaxName+1)), "/targetName"},
		{"a region", target, fmt.Sprintf(`{"targetName":"t","targetBaseURL":"https://a.example","targetRegion":%q}`, strings.Repeat("r", wire.MaxRegion)), ""},
		{"a long region", target, fmt.Sprintf(`{"targetName":"t","targetBaseURL":"https://a.example","targetRegion":%q}`, strings.Repeat("r", wire.MaxRegion+1)), "/targetRegion"},
		{"a long URL", target, fmt.Sprintf(`{"targetName":"t","targetBaseURL":"https://a.example/%s"}`, strings.Repeat("u", wire.MaxText)), "/targetBaseURL"},
		{"callers", proxy, fmt.Sprintf(accepts, list(1000, `"c%d"`)), ""},
		{"many callers", proxy, fmt.Sprintf(accepts, list(1001, `"c%d"`)), "/proxyProxyCredentialIds: it has 1001 elements"},
		{"a note", rule, fmt.Sprintf(`{"effect":"deny","notes":%q}`, strings.Repeat("ü", wire.MaxNote)), ""},
		{"a long note", rule, fmt.Sprintf(`{"effect":"deny","notes":%q}`, strings.Repeat("ü", wire.MaxNote+1)), "/notes"},
		{"paths", rule, fmt.Sprintf(`{"effect":"deny","paths":%s}`, list(wire.MaxPaths, `"/%d"`)), ""},
		{"many paths", rule, fmt.Sprintf(`{"effect":"deny","paths":%s}`, list(wire.MaxPaths+1, `"/%d"`)), "/paths: it has 65 elements"},
		{"a priority", rule, fmt.Sprintf(`{"effect":"deny","priority":%d}`, wire.MaxPriority), ""},
		{"a high priority", rule, fmt.Sprintf(`{"effect":"deny","priority":%d}`, wire.MaxPriority+1), "/priority"},
		{"a JSONPath", rule, fmt.Sprintf(`{"effect":"deny","body":[{"jsonPath":"$.%s"}]}`, strings.Repeat("a", 510)), ""},
		{"a long JSONPath", rule, fmt.Sprintf(`{"effect":"deny","body":[{"jsonPath":"$.%s"}]}`, strings.Repeat("a", 511)), "it has 513 characters"},
	} {
		err := tt.decode(tt.body)
		if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%s: %v, want %q", tt.what, err, tt.fault)
		}
	}
}

func TestDurationsAreBounded(t *testing.T) {
	const body = `{"credentialName":"c","credentialType":"target","credentialAuthType":"jwt","credentialSecret":{"secret":"0123456789abcdef0123456789abcdef","algorithm":"HS256","ttl":%s}}`
	for text, taken := range map[string]bool{`"87600h"`: true, `"87600h1s"`: false, `315360000`: true, `315360001`: false, `1e300`: false, `-1`: false, `"-1s"`: false} {
		_, _, err := wire.DecodeCredential(fmt.Appendf(nil, body, text), nil)
		if refused := err != nil && strings.Contains(err.Error(), "/credentialSecret/ttl: it has to be a duration"); refused == taken {
			t.Errorf("%s: %v", text, err)
		}
	}
}
