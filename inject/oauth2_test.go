package inject

import (
	"container/list"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// provisioned is o in a configuration, until the test ends.
func provisioned(t testing.TB, o *OAuth2) *OAuth2 {
	t.Helper()
	ctx := testContext(t)
	ctx = ctx.WithValue((&secret.Expander{}).Key())
	if err := o.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Cleanup(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// sentBy is the credential that an injector writes, or its error.
func sentBy(t testing.TB, x Injector) (string, error) {
	t.Helper()
	r := request(t, "")
	err := x.Inject(r)
	return r.Header.Get("Authorization"), err
}

// browse opens a URL as a browser does, and returns the query that it is sent back with.
func browse(t testing.TB, where string) url.Values {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Get(where)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatalf("%s: %d %v", where, res.StatusCode, err)
	}
	if back.Host != "gw.example" || back.Path != "/back" {
		t.Fatalf("the browser is sent to %s", back)
	}
	return back.Query()
}

const backURL = "https://gw.example/back"

// TestConsent goes the whole way of authorization_code, with an issuer and without.
func TestConsent(t *testing.T) {
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: "s3cret-0123456789"}, idp.TokenClient{ID: "public", Auth: "none"})
	s.Rotate()
	for _, o := range []*OAuth2{
		{Issuer: s.Issuer, Settings: oauth.Settings{ClientID: "rr", ClientSecret: "s3cret-0123456789"}},
		{TokenURL: s.URL(), AuthorizationURL: s.Issuer + idp.PathAuthorize, Settings: oauth.Settings{ClientID: "public", ClientAuth: "none"}},
	} {
		o.Grant, o.Scopes = oauth.AuthorizationCode, []string{"read", "offline_access"}
		provisioned(t, o)
		if got, err := sentBy(t, o); !errors.Is(err, oauth.ErrNoConsent) || got != "" {
			t.Errorf("before anybody consents: %q %v", got, err)
		}
		where, pending, err := o.Consent(t.Context(), backURL)
		if err != nil {
			t.Fatal(err)
		}
		back := browse(t, where)
		if err := o.Redeem(t.Context(), pending, url.Values{"state": {"x"}, "code": back["code"], "iss": back["iss"]}); err == nil {
			t.Error("another state is accepted")
		}
		if err := o.Redeem(t.Context(), pending, back); err != nil {
			t.Fatal(err)
		}
		first, err := sentBy(t, o)
		if err != nil || !s.Good(first) {
			t.Fatalf("after the consent: %q %v", first, err)
		}
		// a code is good once; who tries it twice changes nothing
		if err := o.Redeem(t.Context(), pending, back); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
			t.Errorf("the code once more: %v", err)
		}
		// a reload keeps the consent, a change of what was consented to does not
		next := provisioned(t, &OAuth2{Grant: o.Grant, Issuer: o.Issuer, TokenURL: o.TokenURL, AuthorizationURL: o.AuthorizationURL, Settings: o.Settings, Scopes: o.Scopes})
		if again, err := sentBy(t, next); err != nil || again != first {
			t.Errorf("after a reload: %q %v", again, err)
		}
		more := provisioned(t, &OAuth2{Grant: o.Grant, Issuer: o.Issuer, TokenURL: o.TokenURL, AuthorizationURL: o.AuthorizationURL, Settings: o.Settings, Scopes: []string{"write"}})
		if _, err := sentBy(t, more); !errors.Is(err, oauth.ErrNoConsent) {
			t.Errorf("with other scopes: %v", err)
		}
		// consent again: at once the old token is not used any more
		where, pending, err = next.Consent(t.Context(), backURL)
		if err != nil {
			t.Fatal(err)
		}
		if err := next.Redeem(t.Context(), pending, browse(t, where)); err != nil {
			t.Fatal(err)
		}
		if again, err := sentBy(t, next); err != nil || again == first || !s.Good(again) {
			t.Errorf("after another consent: %q %v", again, err)
		}
	}
	other := provisioned(t, &OAuth2{Grant: oauth.ClientCredentials, TokenURL: s.URL(), Settings: oauth.Settings{ClientID: "rr", ClientSecret: "x"}})
	if _, _, err := other.Consent(t.Context(), backURL); err == nil {
		t.Error("another grant asks for consent")
	}
	if err := other.Redeem(t.Context(), new(oauth.Consent), nil); err == nil {
		t.Error("another grant redeems a consent")
	}
	if s.Reused() != 0 {
		t.Error("a refresh token came twice")
	}
}

// TestPlaceholdersAreNotSent: through the API they are plain text, which is sent as it is;
// in a configuration one that nobody replaces is an error.
func TestPlaceholdersAreNotSent(t *testing.T) {
	ctx := testContext(t)
	ctx = ctx.WithValue((&secret.Expander{}).Key())
	for name, o := range map[string]*OAuth2{
		"scopes":   {Scopes: []string{"{env.HOME}"}},
		"audience": {Audience: []string{"{http.request.host}"}},
		"resource": {Resource: []string{"x{file./etc/hostname}"}},
		"param x":  {Params: map[string]secret.Template{"x": "{http.auth.user.id}"}},
		"claims":   {Grant: oauth.JWTBearer, Settings: oauth.Settings{PrivateKey: "x"}, Claims: Object{"iss": "{http.request.host}"}},
	} {
		if o.TokenURL = "https://as.example/token"; o.Grant == "" {
			o.Grant, o.ClientID, o.ClientSecret = oauth.ClientCredentials, "rr", "s"
		}
		if err := o.Provision(ctx); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "refresh")
	f := tokenFile(path)
	save := func(before, now string) {
		t.Helper()
		if err := f.Save(t.Context(), before, &oauth.Grant{Refresh: now}); err != nil {
			t.Error(err)
		}
	}
	want := func(want string) {
		t.Helper()
		if g, err := f.Load(t.Context()); err != nil || g.Refresh != want {
			t.Errorf("%v, want %q", err, want)
		}
		if list, _ := os.ReadDir(folder); len(list) != 1 {
			t.Errorf("the folder has %v", list)
		}
	}
	if _, err := f.Load(t.Context()); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), folder) {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(path, []byte("one\r\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	want("one")
	save("one", "two")
	want("two")
	save("one", "three") // somebody else was faster
	want("two")
	for _, bad := range []string{"", "\n", strings.Repeat("x", maxTokenFile+1)} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context()); err == nil {
			t.Errorf("%d bytes are a token", len(bad))
		}
		if err := f.Save(t.Context(), "two", &oauth.Grant{Refresh: "x"}); err == nil {
			t.Errorf("%d bytes are replaced", len(bad))
		}
	}
	if _, err := tokenFile(folder).Load(t.Context()); err == nil {
		t.Error("a folder is a file")
	}
}

// TestChainsAreBounded: the one that was not used for longest goes.
func TestChainsAreBounded(t *testing.T) {
	c := chainCache{byKey: map[[sha256.Size]byte]*list.Element{}, limit: 3}
	get := func(n int) *oauth.Chain {
		return c.get(chainKey(fmt.Sprint(n)), func() oauth.Keeper { return oauth.Memory(&oauth.Grant{Refresh: fmt.Sprint(n)}) })
	}
	first, second := get(1), get(2)
	get(3)
	if get(1) != first {
		t.Error("a chain is not remembered")
	}
	get(4)
	if get(1) != first || len(c.byKey) != 3 || c.order.Len() != 3 {
		t.Errorf("%d chains", len(c.byKey))
	}
	if get(2) == second {
		t.Error("the oldest chain is still there")
	}
}

func TestSecretFiles(t *testing.T) {
	for text, want := range map[secret.String]string{
		"{file./run/x}": "/run/x", "{file.x}": "", "{env.X}": "", "x{file./run/x}": "", "{file./run/x}y": "", "": "", "/run/x": "",
	} {
		path, ok := secretFile(text)
		if ok != (want != "") || ok && path != want {
			t.Errorf("%q: %q %v", string(text), path, ok)
		}
	}
}

// TestDefinitionsDiffer: whatever decides a token decides the id by which tokens are shared.
func TestDefinitionsDiffer(t *testing.T) {
	key := string(idp.NewKey(t, "ES256", "").PrivatePEM())
	base := func(change func(*OAuth2)) *OAuth2 {
		o := &OAuth2{Grant: oauth.ClientCredentials, TokenURL: "https://as.example/token", Settings: oauth.Settings{ClientID: "rr", ClientSecret: "s3cret"}}
		change(o)
		return o
	}
	assertion := func(change func(*OAuth2)) *OAuth2 {
		return base(func(o *OAuth2) {
			o.Grant, o.ClientSecret, o.PrivateKey = oauth.JWTBearer, "", secret.String(key)
			change(o)
		})
	}
	exchanging := func(change func(*OAuth2)) *OAuth2 {
		return base(func(o *OAuth2) { o.Grant = oauth.TokenExchange; change(o) })
	}
	refreshing := func(change func(*OAuth2)) *OAuth2 {
		return base(func(o *OAuth2) { o.Grant, o.RefreshToken = oauth.RefreshToken, "rt-of-this-test"; change(o) })
	}
	seen := map[[32]byte]int{}
	for n, o := range []*OAuth2{
		base(func(*OAuth2) {}),
		base(func(o *OAuth2) { o.TokenURL = "https://as.example/token2" }),
		base(func(o *OAuth2) { o.TokenURL, o.Issuer = "", "https://as.example/token" }),
		base(func(o *OAuth2) { o.ClientID = "rs" }),
		base(func(o *OAuth2) { o.ClientSecret = "another" }),
		base(func(o *OAuth2) { o.ClientAuth = "post" }),
		base(func(o *OAuth2) { o.Scopes = []string{"a", "b"} }),
		base(func(o *OAuth2) { o.Scopes, o.ScopeSeparator = []string{"a", "b"}, "," }),
		base(func(o *OAuth2) { o.Scopes = []string{"ab"} }),
		base(func(o *OAuth2) { o.Audience = []string{"a"} }),
		base(func(o *OAuth2) { o.Resource = []string{"a"} }),
		base(func(o *OAuth2) { o.Params = map[string]secret.Template{"a": "b"} }),
		base(func(o *OAuth2) { o.Params = map[string]secret.Template{"a": "c"} }),
		base(func(o *OAuth2) { o.To = &Placement{Slot: Slot{InHeader, "Authorization"}, Prefix: "token"} }),
		assertion(func(*OAuth2) {}),
		assertion(func(o *OAuth2) { o.Claims = Object{"sub": "x"} }),
		assertion(func(o *OAuth2) { o.Claims = Object{"sub": "{http.auth.user.id}"} }),
		assertion(func(o *OAuth2) { o.KeyID = "k" }),
		exchanging(func(*OAuth2) {}),
		exchanging(func(o *OAuth2) { o.SubjectTokenType = "jwt" }),
		exchanging(func(o *OAuth2) { o.RequestedTokenType = "jwt" }),
		exchanging(func(o *OAuth2) { o.ActorToken = "a" }),
		exchanging(func(o *OAuth2) { o.ActorToken = "b" }),
		exchanging(func(o *OAuth2) { o.ActorToken, o.ActorTokenType = "a", "jwt" }),
		refreshing(func(*OAuth2) {}),
		refreshing(func(o *OAuth2) { o.RefreshToken = "rt-another" }),
		refreshing(func(o *OAuth2) { o.Scopes = []string{"a"} }),
	} {
		d, err := provisioned(t, o).define()
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if other, twice := seen[d.id]; twice {
			t.Errorf("%d and %d would share their tokens", other, n)
		}
		seen[d.id] = n
		if again, err := provisioned(t, base(func(same *OAuth2) {
			same.Grant, same.TokenURL, same.Issuer, same.Settings = o.Grant, o.TokenURL, o.Issuer, o.Settings
			same.Scopes, same.ScopeSeparator, same.Audience, same.Resource, same.Params = o.Scopes, o.ScopeSeparator, o.Audience, o.Resource, o.Params
			same.Claims, same.To, same.RefreshToken = o.Claims, o.To, o.RefreshToken
			same.SubjectTokenType, same.RequestedTokenType, same.ActorToken, same.ActorTokenType = o.SubjectTokenType, o.RequestedTokenType, o.ActorToken, o.ActorTokenType
		})).define(); err != nil || again.id != d.id {
			t.Errorf("%d: the same once more has another id (%v)", n, err)
		}
	}
}
