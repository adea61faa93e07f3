package oauth

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestForms(t *testing.T) {
	ask := Ask{
		Scopes: []string{"read", "write"}, Audiences: []string{"https://a.example"}, Resources: []string{"https://r.example/1", "https://r.example/2"},
		Params: []Param{{"account", "7"}, {"access_type", "off line"}},
	}
	const more = "&access_type=off+line&account=7&audience=https%3A%2F%2Fa.example&resource=https%3A%2F%2Fr.example%2F1&resource=https%3A%2F%2Fr.example%2F2&scope=read+write"
	const uri = "urn:ietf:params:oauth:token-type:"
	consent := &Consent{Verifier: "v", RedirectURI: "https://gw.example/back"}
	for _, tt := range []struct {
		name string
		form url.Values
		want string
	}{
		{"client_credentials", ask.Own(), "grant_type=client_credentials" + more},
		{"nothing asked for", new(Ask).Own(), "grant_type=client_credentials"},
		{"another separator", (&Ask{Scopes: []string{"a", "b"}, Separator: ","}).Own(), "grant_type=client_credentials&scope=a,b"},
		{"refresh_token", ask.Refresh("r&t"), "grant_type=refresh_token&refresh_token=r%26t" + more},
		{"jwt_bearer", ask.Assert("a.b.c"), "assertion=a.b.c&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer" + more},
		{"authorization_code", ask.Code("c", consent), "code=c&code_verifier=v&grant_type=authorization_code&redirect_uri=https://gw.example/back" + strings.Replace(more, "&scope=read+write", "", 1)},
		{"token_exchange", new(Ask).Exchange(Exchange{}, "s"), "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=s&subject_token_type=" + uri + "access_token"},
		{"token_exchange with all", ask.Exchange(Exchange{SubjectType: "jwt", Requested: "urn:x:y", Actor: "a", ActorType: "id_token"}, "s"),
			"actor_token=a&actor_token_type=" + uri + "id_token&grant_type=urn:ietf:params:oauth:grant-type:token-exchange&requested_token_type=urn:x:y&subject_token=s&subject_token_type=" + uri + "jwt" + more},
	} {
		want, err := url.ParseQuery(tt.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.form.Encode(); got != want.Encode() {
			t.Errorf("%s: %s\nwant %s", tt.name, got, want.Encode())
		}
	}
	ask.Own()["resource"][0] = "changed"
	if ask.Resources[0] != "https://r.example/1" {
		t.Error("a form shares its values with what it was made of")
	}
}

func TestChecksOfGrants(t *testing.T) {
	for _, name := range Grants {
		if err := CheckGrant(name); err != nil {
			t.Error(err)
		}
	}
	if err := CheckGrant("password"); err == nil || !strings.Contains(err.Error(), "client_credentials, refresh_token") {
		t.Errorf("password: %v", err)
	}
	for name, ok := range map[string]bool{"access_type": true, "": false, "scope": false, "client_secret": false, "refresh_token": false, "grant_type": false, "subject_token": false} {
		if err := CheckParam(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, ok := range map[string]bool{"jwt": true, "saml2": true, "urn:x:y": true, "https://x.example/t": true, "token": false, "": false, "a b": false} {
		if err := CheckTokenType(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestAssertionClaims(t *testing.T) {
	for _, tt := range []struct{ configured, issuer, subject, want string }{
		{`{}`, "rr", "rr", `{"aud":"` + endpointURL + `","exp":1800000060,"iat":1800000000,"iss":"rr","sub":"rr"}`},
		{`{}`, "rr", "", `{"aud":"` + endpointURL + `","exp":1800000060,"iat":1800000000,"iss":"rr"}`},
		{`{"iss":"i","sub":"s","aud":["a","b"],"scope":"x y"}`, "rr", "rr", `{"aud":["a","b"],"exp":1800000060,"iat":1800000000,"iss":"i","scope":"x y","sub":"s"}`},
		{`{"sub":null}`, "rr", "rr", `{"aud":"` + endpointURL + `","exp":1800000060,"iat":1800000000,"iss":"rr"}`},
	} {
		var configured map[string]any
		if err := json.Unmarshal([]byte(tt.configured), &configured); err != nil {
			t.Fatal(err)
		}
		claims := AssertionClaims(configured, tt.issuer, tt.subject, endpointURL, at)
		jti, _ := claims["jti"].(string)
		delete(claims, "jti")
		if got, _ := json.Marshal(claims); string(got) != tt.want || len(jti) < 22 {
			t.Errorf("%s: %s, want %s", tt.configured, got, tt.want)
		}
		if again := AssertionClaims(configured, "", "", "", at); again["jti"] == jti || configured["iat"] != nil {
			t.Error("a jti came twice, or the configured claims were changed")
		}
	}
}

func TestServiceAccounts(t *testing.T) {
	file := func(change func(map[string]any)) string {
		members := map[string]any{
			"type": "service_account", "project_id": "p", "private_key_id": "key-1", "private_key": pemKey(t, "rsa"),
			"client_email": "svc@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
			"universe_domain": "googleapis.com",
		}
		change(members)
		raw, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	a, err := ParseServiceAccount(file(func(map[string]any) {}))
	if err != nil || a.Email != "svc@p.iam.gserviceaccount.com" || a.TokenURL != "https://oauth2.googleapis.com/token" || a.Signer.Alg() != "RS256" {
		t.Fatalf("%+v %v", a, err)
	}
	if a, err = ParseServiceAccount(file(func(m map[string]any) { delete(m, "token_uri") })); err != nil || a.TokenURL != "https://oauth2.googleapis.com/token" {
		t.Errorf("without token_uri: %v", err)
	}
	for _, tt := range []struct {
		text string
		err  string
	}{
		{"PRIVATE", "not valid JSON"},
		{"[]", "not a JSON object"},
		{file(func(m map[string]any) { m["type"] = "external_account" }), "external_account"},
		{file(func(m map[string]any) { delete(m, "client_email") }), "no client_email"},
		{file(func(m map[string]any) { m["private_key"] = "PRIVATE" }), "private_key: "},
		{file(func(m map[string]any) { m["private_key"] = []string{"PRIVATE"} }), "no private_key"},
		{file(func(m map[string]any) { m["token_uri"] = "http://oauth2.example/" }), "token_uri: "},
	} {
		if _, err := ParseServiceAccount(tt.text); err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("error %v, want %q", err, tt.err)
		}
	}
}
