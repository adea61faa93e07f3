package oauth

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

func authorization() *Authorization {
	return &Authorization{
		Endpoint: "https://as.example/authorize?tenant=1", ClientID: "rr", RedirectURI: "https://gw.example/back", Issuer: "https://as.example",
		Ask: Ask{Scopes: []string{"read", "offline_access"}, Resources: []string{"https://r.example"}, Params: []Param{{"prompt", "consent"}, {"state", "mine"}}},
	}
}

func TestConsentBegins(t *testing.T) {
	where, c, err := authorization().Begin(at)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(where)
	if err != nil || u.Host != "as.example" || u.Path != "/authorize" {
		t.Fatalf("%s: %v", where, err)
	}
	want := url.Values{
		"tenant": {"1"}, "response_type": {"code"}, "client_id": {"rr"}, "redirect_uri": {"https://gw.example/back"}, "state": {c.State},
		"scope": {"read offline_access"}, "resource": {"https://r.example"}, "prompt": {"consent"},
		"code_challenge": {challenge(c.Verifier)}, "code_challenge_method": {"S256"},
	}
	if got := u.Query().Encode(); got != want.Encode() {
		t.Errorf("the query is %s\nwant %s", got, want.Encode())
	}
	if len(c.State) != 43 || len(c.Verifier) != 43 || c.State == c.Verifier || strings.Contains(where, c.Verifier) {
		t.Errorf("state %q, verifier %q", c.State, c.Verifier)
	}
	_, other, _ := authorization().Begin(at)
	if other.State == c.State || other.Verifier == c.Verifier {
		t.Error("two consents have the same secrets")
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		if strings.Contains(text, c.State) || strings.Contains(text, c.Verifier) {
			t.Errorf("a consent shows itself: %s", text)
		}
	}
	for name, change := range map[string]func(*Authorization){
		"no endpoint": func(a *Authorization) { a.Endpoint = "" }, "http": func(a *Authorization) { a.Endpoint = "http://as.example/" },
		"no client": func(a *Authorization) { a.ClientID = "" }, "no redirect": func(a *Authorization) { a.RedirectURI = "" },
	} {
		a := authorization()
		change(a)
		if _, _, err := a.Begin(at); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestChallenge has the example of RFC 7636 appendix B.
func TestChallenge(t *testing.T) {
	if got := challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Error(got)
	}
}

func TestConsentIsKeptAndComesBack(t *testing.T) {
	_, begun, err := authorization().Begin(at)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(begun)
	if err != nil {
		t.Fatal(err)
	}
	c := new(Consent)
	if err := json.Unmarshal(raw, c); err != nil || c.State != begun.State || c.Verifier != begun.Verifier || !c.Expires.Equal(begun.Expires) {
		t.Fatalf("kept as %s: %v", raw, err)
	}
	said := *c
	said.IssuerSaid = true
	for _, tt := range []struct {
		name  string
		c     *Consent
		query string
		after time.Duration
		err   string
	}{
		{"a code", c, "code=X&state=" + c.State, 0, ""},
		{"with its issuer", c, "code=X&iss=https://as.example&state=" + c.State, 9 * time.Minute, ""},
		{"another issuer", c, "code=X&iss=https://evil.example&state=" + c.State, 0, "another issuer"},
		{"an issuer that should be said", &said, "code=X&state=" + c.State, 0, "another issuer"},
		{"another state", c, "code=X&state=" + c.State[1:] + "x", 0, "another state"},
		{"no state", c, "code=X", 0, "another state"},
		{"no state on either side", new(Consent), "code=X", 0, "another state"},
		{"too late", c, "code=X&state=" + c.State, 11 * time.Minute, "too long"},
		{"a no", c, "error=access_denied&error_description=s3cret&state=" + c.State, 0, "access_denied"},
		{"a no with a code", c, "error=access_denied&code=X&state=" + c.State, 0, "access_denied"},
		{"a strange no", c, "error=s3cret+s3cret&state=" + c.State, 0, "says no"},
		{"no code", c, "state=" + c.State, 0, "no code"},
		{"two codes", c, "code=X&code=Y&state=" + c.State, 0, "code twice"},
		{"two states", c, "code=X&state=a&state=" + c.State, 0, "state twice"},
	} {
		query, err := url.ParseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		code, err := tt.c.Accept(query, at.Add(tt.after))
		if tt.err == "" && (err != nil || code != "X") || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "s3cret")) {
			t.Errorf("%s: %q %v", tt.name, code, err)
		}
	}
}
