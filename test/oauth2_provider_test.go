package test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	secrets "github.com/caddy-rr/caddy-rr/store/secret"
)

// payload is what a JWT says.
func payload(t testing.TB, authorization string) map[string]any {
	t.Helper()
	parts := strings.Split(authorization, ".")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "Bearer ") {
		t.Fatalf("%q is no JWT", authorization)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var said map[string]any
	if err := json.Unmarshal(raw, &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// TestOAuth2ProviderClients gets tokens from the certified provider by client_credentials,
// with each client authentication that it knows.
func TestOAuth2ProviderClients(t *testing.T) {
	ca := rrtest.NewCA(t)
	cert, key := ca.Files(t, "127.0.0.1")
	mine, mineKey := ca.Files(t, "gateway-tls")
	own := rrtest.NewCA(t)
	selfSigned, selfSignedKey := own.Files(t, "gateway-selfsigned")
	signer := idp.NewKey(t, "PS256", "gw-1")
	tlsPort := rrtest.FreePort(t)
	e := startProvider(t, "CLIENT_JWKS="+string(jwkSet(signer)), "CERTIFICATE_JWKS="+certificateSet(t, selfSigned, selfSignedKey),
		fmt.Sprintf("TLS_PORT=%d", tlsPort), "TLS_CERT="+cert, "TLS_KEY="+key, "TLS_CA="+ca.File)
	secret := func(client string) string {
		return "client_id " + client + "\nclient_secret " + idp.ExternalSecret(client)
	}
	plain, secure := "issuer "+e.Issuer, fmt.Sprintf("issuer https://127.0.0.1:%d\nca {file.%s}", tlsPort, ca.File)
	clients := map[string]string{
		"gateway-basic": plain + "\n" + secret("gateway-basic"),
		"gateway-post":  "token_url " + e.Issuer + "/token\nclient_auth post\n" + secret("gateway-post"),
		"gateway-hmac":  plain + "\nclient_auth client_secret_jwt\n" + secret("gateway-hmac"),
		"gateway-jwt":   plain + "\nclient_auth private_key_jwt\nclient_id gateway-jwt\nalgorithm PS256\nkid gw-1\nprivate_key " + file(t, "key.pem", signer.PrivatePEM()),
		"gateway-tls":   secure + "\nclient_auth mtls\nclient_id gateway-tls\ncertificate {file." + mine + "}\nkey {file." + mineKey + "}",
		"gateway-selfsigned": secure + "\nclient_auth mtls\nclient_id gateway-selfsigned\ncertificate {file." + selfSigned +
			"}\nkey {file." + selfSignedKey + "}",
		// these are refused
		"wrong-secret":      plain + "\nclient_id gateway-basic\nclient_secret not-the-secret",
		"wrong-way":         plain + "\nclient_auth client_secret_jwt\n" + secret("gateway-basic"),
		"wrong-key":         plain + "\nclient_auth private_key_jwt\nclient_id gateway-jwt\nalgorithm PS256\nkid gw-1\nprivate_key " + file(t, "other.pem", idp.NewKey(t, "PS256", "gw-1").PrivatePEM()),
		"wrong-certificate": secure + "\nclient_auth mtls\nclient_id gateway-tls\ncertificate {file." + selfSigned + "}\nkey {file." + selfSignedKey + "}",
	}
	var proxies strings.Builder
	for name, lines := range clients {
		fmt.Fprintf(&proxies, "proxy %s {\naccept key {env.RR_CALLER}\ntarget UPSTREAM\npresent oauth2 {\ngrant client_credentials\nscopes read write\nresource %sES256\n%s\n}\n}\n", name, idp.ExternalResource, lines)
	}
	s := newTokens(t)
	g, u := startOAuth2(t, s, byBasic, "MORE", proxies.String())
	u.Handle("", rrtest.Echo)
	for name := range clients {
		u.Reset()
		a := g.get("/"+name+"/", withKey)
		if strings.HasPrefix(name, "wrong-") {
			a.want(t, 502, "target-credential-failed")
			g.refusal(func(e map[string]any) bool {
				return e["proxy"] == name && strings.Contains(fmt.Sprint(e["reason"]), "the endpoint answers 401 invalid_client")
			})
			continue
		}
		a.want(t, 200, "proxy-access-granted")
		said := payload(t, one(t, u).Header.Get("Authorization"))
		if said["client_id"] != name || said["aud"] != idp.ExternalResource+"ES256" || said["scope"] != "read write" {
			t.Errorf("%s got a token that says %v", name, said)
		}
	}
}

// certificateSet is a key set with a certificate (RFC 8705 section 2.2.2).
func certificateSet(t testing.TB, cert, key string) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	public := idp.Key{Alg: "ES256", Members: map[string]any{"x5c": []string{base64.StdEncoding.EncodeToString(leaf.Raw)}}}
	public.Private = pair.PrivateKey.(crypto.Signer)
	return string(jwkSet(&public))
}

// login opens a URL of the certified provider, logs in and consents on its pages, and
// returns the query that the browser is sent back with.
func login(t testing.TB, where string) url.Values {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var back url.Values
	client := &http.Client{Jar: jar, Timeout: time.Minute, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if req.URL.Host == "gateway.example" {
			back = req.URL.Query()
			return http.ErrUseLastResponse
		}
		return nil
	}}
	read := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode >= 400 {
			t.Fatalf("%d %s %v", res.StatusCode, text, err)
		}
		return string(text)
	}
	page := read(client.Get(where))
	for range 5 {
		if back != nil {
			return back
		}
		action, prompt := formAction.FindStringSubmatch(page), formPrompt.FindStringSubmatch(page)
		if action == nil || prompt == nil {
			t.Fatalf("a page without a form: %s", page)
		}
		page = read(client.PostForm(html.UnescapeString(action[1]), url.Values{"prompt": {prompt[1]}, "login": {"alice"}, "password": {"any"}}))
	}
	t.Fatal("the login has no end")
	return nil
}

var (
	formAction = regexp.MustCompile(`<form[^>]* action="([^"]+)"`)
	formPrompt = regexp.MustCompile(`name="prompt" value="([^"]+)"`)
)

// consented has somebody log in at the provider, and returns the refresh token.
func consented(t testing.TB, e *idp.External, client, secret string) string {
	t.Helper()
	settings := oauth.Settings{ClientID: secrets.Template(client), ClientAuth: oauth.None}
	if secret != "" {
		settings.ClientAuth, settings.ClientSecret = oauth.Basic, secrets.String(secret)
	}
	endpoint, err := settings.OpenTokens(t.Context(), "", e.Issuer, oauth.Options{Policy: fetch.Policy{Trusted: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer endpoint.Close()
	metadata, err := endpoint.Metadata(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	asked := oauth.Ask{Scopes: []string{"read", "offline_access"}, Params: []oauth.Param{{Name: "prompt", Value: "consent"}}}
	where, pending, err := (&oauth.Authorization{
		Endpoint: metadata.Authorization, ClientID: client, RedirectURI: "https://gateway.example/back",
		Issuer: e.Issuer, IssuerSaid: metadata.IssuerSaid, Ask: asked,
	}).Begin(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	back := login(t, where)
	if !metadata.IssuerSaid || back.Get("iss") != e.Issuer {
		t.Errorf("the provider does not name itself: %v", back)
	}
	code, err := pending.Accept(back, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	redeem := func(c *oauth.Consent) (*oauth.AccessToken, error) {
		return endpoint.Ask(t.Context(), func(string) (url.Values, error) { return asked.Code(code, c), nil })
	}
	stolen := *pending
	stolen.Verifier = strings.Repeat("x", 43)
	if _, err := redeem(&stolen); err == nil {
		t.Fatal("the code is good without its verifier")
	}
	got, err := redeem(pending)
	if err != nil || got.Refresh == "" {
		t.Fatalf("%v %v", got, err)
	}
	return got.Refresh
}

// TestOAuth2ProviderConsent: somebody logs in at the certified provider and consents; the
// gateway lives on the refresh token, which the provider replaces with each use.
func TestOAuth2ProviderConsent(t *testing.T) {
	e := startProvider(t)
	for client, secret := range map[string]string{"browser": idp.ExternalSecret("browser"), "browser-public": ""} {
		t.Run(client, func(t *testing.T) {
			first := consented(t, e, client, secret)
			path := filepath.Join(t.TempDir(), "refresh")
			write(t, path, first)
			inFile := func() string {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return strings.TrimSpace(string(text))
			}
			lines := "grant refresh_token\nissuer " + e.Issuer + "\nclient_id " + client + "\nrefresh_token {file." + path + "}\nkeep_rotated\n"
			if lines += "client_auth none"; secret != "" {
				lines = strings.Replace(lines, "client_auth none", "client_secret "+secret, 1)
			}
			g, u := startOAuth2(t, newTokens(t), lines)
			u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !isActive(t, e, r.Header.Get("Authorization")) {
					w.WriteHeader(http.StatusUnauthorized)
				}
			}))
			g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
			second := inFile()
			if second == first {
				t.Fatal("the provider's new refresh token is not kept")
			}
			time.Sleep(5200 * time.Millisecond) // a token is not replaced that has just come
			res, err := http.Post(e.Issuer+"/test/expire", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
			if third := inFile(); third == second || third == first {
				t.Error("the provider's next refresh token is not kept")
			}
			if got := received(u); len(got) != 3 || got[1].Header.Get("Authorization") == got[2].Header.Get("Authorization") {
				t.Errorf("the upstream got %d requests", len(got))
			}
			noSecrets(t, g, first, second, inFile(), idp.ExternalSecret("browser"))
		})
	}
}

// isActive asks the provider about a token (RFC 7662).
func isActive(t testing.TB, e *idp.External, authorization string) bool {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, e.Issuer+"/token/introspection", strings.NewReader(url.Values{"token": {strings.TrimPrefix(authorization, "Bearer ")}}.Encode()))
	if err != nil {
		t.Error(err)
		return false
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("gateway-basic", idp.ExternalSecret("gateway-basic"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return false
	}
	defer res.Body.Close()
	var answer struct{ Active bool }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Error(err)
	}
	return answer.Active
}
