package oauth

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// settings sets options, "name value" each.
func settings(t testing.TB, options ...string) Settings {
	t.Helper()
	var s Settings
	for _, o := range options {
		name, value, _ := strings.Cut(o, " ")
		if known, err := s.Option(name, []string{value}); !known || err != nil {
			t.Fatalf("%s: known %v, %v", name, known, err)
		}
	}
	return s
}

func TestEveryOptionIsInTheJSON(t *testing.T) {
	values := map[string]string{"client_auth": "post", "algorithm": "ES256"}
	var all []string
	for _, name := range OptionNames {
		if values[name] == "" {
			values[name] = "v-" + name
		}
		all = append(all, name+" "+values[name])
	}
	raw, err := json.Marshal(settings(t, all...))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		if got[name] != value {
			t.Errorf("%s is %q in the JSON, want %q", name, got[name], value)
		}
	}
	if len(got) != len(OptionNames) {
		t.Errorf("the JSON is %s", raw)
	}
}

func TestOptionErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		err  string
	}{
		{"client_id", nil, "exactly one value"},
		{"client_id", []string{"a", "b"}, "exactly one value"},
		{"client_id", []string{""}, "is empty"},
		{"client_auth", []string{"digest"}, "basic, post, private_key_jwt"},
		{"algorithm", []string{"none"}, "not a signature algorithm"},
	} {
		var s Settings
		if known, err := s.Option(tt.name, tt.args); !known || err == nil || !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s %q: %v %v, want %q", tt.name, tt.args, known, err, tt.err)
		}
	}
	s := settings(t, "client_id a")
	if _, err := s.Option("client_id", []string{"b"}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("an option twice: %v", err)
	}
	if known, err := s.Option("url", []string{"b"}); known || err != nil {
		t.Errorf("another's option: %v %v", known, err)
	}
}

func TestCheck(t *testing.T) {
	key := pemKey(t, "ec")
	cert, certKey := certificate(t)
	for _, tt := range []struct {
		name    string
		options []string
		err     string
	}{
		{"basic", []string{"client_id rr", "client_secret s"}, ""},
		{"basic with a certificate too", []string{"client_id rr", "client_secret s", "certificate " + cert, "key " + certKey}, ""},
		{"post", []string{"client_auth post", "client_id rr", "client_secret s"}, ""},
		{"private key", []string{"client_auth private_key_jwt", "client_id rr", "private_key " + key, "kid k", "algorithm ES256"}, ""},
		{"secret jwt", []string{"client_auth client_secret_jwt", "client_id rr", "client_secret s", "algorithm HS384"}, ""},
		{"mtls", []string{"client_auth mtls", "client_id rr", "certificate " + cert, "key " + certKey}, ""},
		{"none", []string{"client_auth none"}, ""},
		{"ca", []string{"client_auth none", "ca " + cert}, ""},

		{"nothing", nil, "client_auth basic needs client_id"},
		{"no secret", []string{"client_id rr"}, "client_auth basic needs client_secret"},
		{"no private key", []string{"client_id rr", "client_auth private_key_jwt"}, "needs private_key"},
		{"no certificate", []string{"client_id rr", "client_auth mtls"}, "needs certificate and key"},
		{"no key of a certificate", []string{"client_id rr", "client_auth mtls", "certificate " + cert}, "belong together"},
		{"no certificate of a key", []string{"client_id rr", "client_secret s", "key " + certKey}, "belong together"},
		{"an algorithm that does not go with the key", []string{"client_auth private_key_jwt", "client_id rr", "private_key " + key, "algorithm RS256"}, "private_key: algorithm RS256"},
		{"an algorithm that does not go with a secret", []string{"client_auth client_secret_jwt", "client_id rr", "client_secret s", "algorithm RS256"}, "algorithm"},
		{"a certificate for a key", []string{"client_auth private_key_jwt", "client_id rr", "private_key " + cert}, "private_key: "},
		{"another's key", []string{"client_auth mtls", "client_id rr", "certificate " + cert, "key " + key}, "certificate: "},
		{"a key for a ca", []string{"client_auth none", "ca " + certKey}, "ca: "},
		{"a ca that is no PEM", []string{"client_auth none", "ca MIIB"}, "ca: "},

		{"unused secret", []string{"client_auth none", "client_secret s"}, "client_secret has no part in client_auth none"},
		{"unused private key", []string{"client_id rr", "client_secret s", "private_key " + key}, "private_key has no part in client_auth basic"},
		{"unused algorithm", []string{"client_id rr", "client_secret s", "algorithm ES256"}, "algorithm has no part"},
		{"unused kid", []string{"client_id rr", "client_secret s", "client_auth client_secret_jwt", "kid k"}, "kid has no part"},
		{"unused audience", []string{"client_id rr", "client_secret s", "assertion_audience a"}, "assertion_audience has no part"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := settings(t, tt.options...)
			e, err := s.Open(t.Context(), endpointURL, Options{})
			if err == nil {
				e.Close()
				err = s.CheckUnused()
			}
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			if err != nil && (strings.Contains(err.Error(), "MII") || strings.Contains(err.Error(), "BEGIN PRIVATE")) {
				t.Errorf("the error quotes a key: %v", err)
			}
		})
	}
	s := settings(t, "client_auth none")
	for _, bad := range []string{"", "http://as.example/", "ftp://as.example", "https://u:p@as.example/"} {
		if _, err := s.Open(t.Context(), bad, Options{Policy: fetch.Policy{Trusted: true}}); err == nil {
			t.Errorf("the URL %q is taken", bad)
		}
	}
}
