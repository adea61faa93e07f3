package inject

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/redact"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// grantStore is a host's store of grants.
type grantStore struct {
	mu     sync.Mutex
	grants map[string]*oauth.Grant // by credential and part
	broken error
	saved  []string
}

func newGrantStore() *grantStore { return &grantStore{grants: map[string]*oauth.Grant{}} }

func (s *grantStore) keeper(credential, part string) oauth.Keeper {
	return grantKeeper{s, credential + "/" + part}
}

// only is the one grant of a credential.
func (s *grantStore) only(t testing.TB, credential string) oauth.Grant {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []oauth.Grant
	for key, g := range s.grants {
		if strings.HasPrefix(key, credential+"/") {
			found = append(found, *g)
		}
	}
	if len(found) != 1 {
		t.Fatalf("the store has %d grants of %s", len(found), credential)
	}
	return found[0]
}

func (s *grantStore) breaks(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

type grantKeeper struct {
	*grantStore
	key string
}

func (k grantKeeper) Load(context.Context) (*oauth.Grant, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.grants[k.key], nil
}

func (k grantKeeper) Save(_ context.Context, before string, g *oauth.Grant) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil {
		return k.broken
	}
	if old := k.grants[k.key]; old == nil || old.Refresh == before {
		k.grants[k.key] = g
		k.saved = append(k.saved, g.Refresh)
	}
	return nil
}

// loaded is a record's OAuth2 in a configuration of its own, and what ends it.
func loaded(t testing.TB, s *grantStore, id, spec string) (*OAuth2, func()) {
	t.Helper()
	o := host.RecordOptions{ID: id, Egress: loopback}
	if s != nil {
		o.Keeper = s.keeper
	}
	l := host.NewRecordLoader(testContext(t), zap.NewNop(), o)
	t.Cleanup(l.Close)
	c := &Credential{Name: "erp-" + id, Raw: json.RawMessage(spec)}
	if err := c.Provision(l); err != nil {
		t.Fatal(err)
	}
	return c.injector.(*OAuth2), l.Close
}

// forgetChains is what the end of the process does to grants in memory.
func forgetChains(t testing.TB) {
	t.Helper()
	keptChains.mu.Lock()
	defer keptChains.mu.Unlock()
	for key, k := range keptChains.byKey {
		if len(k.users) > 0 {
			t.Error("somebody still uses a chain")
		}
		k.timer.Stop()
		k.keeper.forget()
		delete(keptChains.byKey, key)
	}
}

func consentSpec(s *idp.Tokens) string {
	return fmt.Sprintf(`{"kind":"oauth2","grant":"authorization_code","issuer":%q,"client_id":"rr","client_secret":"s3cret-0123456789","scopes":["read"]}`, s.Issuer)
}

func refreshSpec(s *idp.Tokens, token string) string {
	return fmt.Sprintf(`{"kind":"oauth2","grant":"refresh_token","token_url":%q,"client_id":"rr","client_secret":"s3cret-0123456789","refresh_token":%q}`, s.URL(), token)
}

func recordTokens(t testing.TB) *idp.Tokens {
	t.Helper()
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: "s3cret-0123456789"})
	s.Rotate()
	return s
}

// consent has somebody consent through an OAuth2.
func consentBy(t testing.TB, o *OAuth2) {
	t.Helper()
	where, pending, err := o.Consent(t.Context(), backURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Redeem(t.Context(), pending, browse(t, where)); err != nil {
		t.Fatal(err)
	}
}

// TestRecordsShareAGrant: the old and the new configuration have one chain of refresh
// tokens and one access token, and a consent that comes in through either, or through what
// was loaded for it alone, holds for all at once.
func TestRecordsShareAGrant(t *testing.T) {
	s, store := recordTokens(t), newGrantStore()
	id := t.Name()
	before, endBefore := loaded(t, store, id, consentSpec(s))
	after, endAfter := loaded(t, store, id, consentSpec(s))
	for range 3 {
		for _, o := range []*OAuth2{before, after} {
			if got, err := sentBy(t, o); !errors.Is(err, oauth.ErrNoConsent) || got != "" {
				t.Fatalf("before anybody consents: %q %v", got, err)
			}
		}
	}
	if s.Count() != 0 {
		t.Error("the endpoint was asked without a consent")
	}
	for round := range 2 {
		asked := s.Count()
		through, end := loaded(t, store, id, consentSpec(s))
		consentBy(t, through)
		end()
		want, err := sentBy(t, before)
		if err != nil || !s.Good(want) {
			t.Fatalf("round %d: the old configuration has %q, %v", round, want, err)
		}
		if got, err := sentBy(t, after); got != want || err != nil {
			t.Errorf("round %d: the new configuration has %q, %v", round, got, err)
		}
		if n := s.Count() - asked; n != 2 { // the code's, and one for both
			t.Errorf("round %d: %d requests", round, n)
		}
		if kept := store.only(t, id); kept.Refresh != s.Current(kept.Refresh) {
			t.Errorf("round %d: the store has an old refresh token", round)
		}
	}
	// the old one ends; another comes; nobody asks anew
	want, _ := sentBy(t, after)
	endBefore()
	third, endThird := loaded(t, store, id, consentSpec(s))
	endAfter()
	if got, err := sentBy(t, third); got != want || err != nil {
		t.Errorf("after a reload: %q %v", got, err)
	}
	// a restart
	endThird()
	forgetChains(t)
	again, _ := loaded(t, store, id, consentSpec(s))
	if got, err := sentBy(t, again); err != nil || !s.Good(got) || got == want {
		t.Errorf("after a restart: %q %v", got, err)
	}
	if s.Reused() != 0 {
		t.Error("a refresh token came twice")
	}
}

// TestRecordsOfOthersShareNothing: the grant belongs to the record, and to what was
// consented to.
func TestRecordsOfOthersShareNothing(t *testing.T) {
	s, store := recordTokens(t), newGrantStore()
	mine, _ := loaded(t, store, t.Name()+"-mine", consentSpec(s))
	consentBy(t, mine)
	token, err := sentBy(t, mine)
	if err != nil {
		t.Fatal(err)
	}
	configured := provisioned(t, &OAuth2{Grant: oauth.AuthorizationCode, Issuer: s.Issuer, Scopes: []string{"read"}, Settings: oauth.Settings{ClientID: "rr", ClientSecret: "s3cret-0123456789"}})
	consentBy(t, configured)
	elsewhere := recordTokens(t)
	for name, o := range map[string]func() (*OAuth2, func()){
		"another record":          func() (*OAuth2, func()) { return loaded(t, store, t.Name()+"-theirs", consentSpec(s)) },
		"a trial":                 func() (*OAuth2, func()) { return loaded(t, store, "", consentSpec(s)) },
		"one without a store":     func() (*OAuth2, func()) { return loaded(t, nil, t.Name()+"-mine", consentSpec(s)) },
		"the same asks elsewhere": func() (*OAuth2, func()) { return loaded(t, store, t.Name()+"-mine", consentSpec(elsewhere)) },
		"the same asks for more": func() (*OAuth2, func()) {
			return loaded(t, store, t.Name()+"-mine", strings.Replace(consentSpec(s), `"read"`, `"read","write"`, 1))
		},
	} {
		other, end := o()
		if got, err := sentBy(t, other); !errors.Is(err, oauth.ErrNoConsent) {
			t.Errorf("%s has %q, %v", name, got, err)
		}
		end()
	}
	if got, err := sentBy(t, mine); got != token || err != nil {
		t.Errorf("the record's own is %q, %v", got, err)
	}
	if elsewhere.Count() != 0 {
		t.Error("the refresh token went somewhere else")
	}
}

// TestRecordRefreshToken: the refresh token in a record is where its chain begins, and the
// store has each successor before its access token is used.
func TestRecordRefreshToken(t *testing.T) {
	s, store := recordTokens(t), newGrantStore()
	id, first := t.Name(), s.Grant("rr")
	o, end := loaded(t, store, id, refreshSpec(s, first))
	store.breaks(errors.New("no space left on device"))
	if got, err := sentBy(t, o); err == nil || !strings.Contains(err.Error(), "cannot be kept") || strings.Contains(err.Error(), first) {
		t.Fatalf("a token that cannot be kept is used: %q %v", got, err)
	}
	end() // with the successor in memory alone
	if s.Count() != 1 || len(store.saved) != 0 {
		t.Fatalf("%d requests", s.Count())
	}
	store.breaks(nil)
	o, end = loaded(t, store, id, refreshSpec(s, first))
	token, err := sentBy(t, o)
	if err != nil || !s.Good(token) {
		t.Fatalf("%q %v", token, err)
	}
	if len(store.saved) != 2 || store.only(t, id).Refresh != s.Current(first) || s.Reused() != 0 {
		t.Errorf("%d were saved, %d came twice", len(store.saved), s.Reused())
	}
	// its latest is not in logs
	if line := string(redact.Default().Line([]byte("x " + s.Current(first) + " x"))); strings.Contains(line, s.Current(first)) {
		t.Error("a kept refresh token is in the log")
	}
	// a restart goes on where the store is
	end()
	forgetChains(t)
	o, end = loaded(t, store, id, refreshSpec(s, first))
	if _, err := sentBy(t, o); err != nil || s.Reused() != 0 {
		t.Errorf("after a restart: %v", err)
	}
	// another refresh token in the record is another grant, though the old one is still used
	second := s.Grant("rr")
	next, _ := loaded(t, store, id, refreshSpec(s, second))
	if _, err := sentBy(t, next); err != nil || s.Last().Get("refresh_token") != second {
		t.Errorf("a new refresh token: %v", err)
	}
	if _, err := o.kept.chain.Token(t.Context(), func(_ context.Context, refresh string) (*oauth.AccessToken, error) {
		if s.Current(first) != refresh {
			t.Error("the old grant has the new one's refresh token")
		}
		return nil, errors.New("not now")
	}); err == nil {
		t.Error("no error")
	}
	end()
	if len(store.grants) != 2 {
		t.Errorf("the store has %d grants", len(store.grants))
	}
}

// TestKeptChainsAreForgotten: a chain that nobody uses stays for as long as an answer may
// come, or as long as the host cannot keep a successor, and no longer.
func TestKeptChainsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		known := func(k *keptChain) bool {
			keptChains.mu.Lock()
			defer keptChains.mu.Unlock()
			return keptChains.byKey[k.key] == k
		}
		o, other := new(OAuth2), new(OAuth2)
		k := joinKept(o, chainKey(t.Name()), "", oauth.Memory(nil))
		if joinKept(other, chainKey(t.Name()), "", oauth.Memory(nil)) != k {
			t.Fatal("two chains of one record")
		}
		k.leave(o)
		k.leave(o)
		time.Sleep(2 * keptFor)
		if !known(k) {
			t.Error("a chain in use is forgotten")
		}
		k.leave(other)
		time.Sleep(keptFor - time.Second)
		if joinKept(o, chainKey(t.Name()), "", oauth.Memory(nil)) != k {
			t.Error("a reload with a gap has another chain")
		}
		time.Sleep(2 * keptFor)
		k.leave(o)
		time.Sleep(keptFor + time.Second)
		synctest.Wait()
		if known(k) {
			t.Error("a chain that nobody uses is remembered")
		}

		store := newGrantStore()
		store.breaks(errors.New("no space left on device"))
		k = joinKept(o, chainKey(t.Name()), "rt-0", store.keeper("c", "p"))
		if _, err := k.chain.Token(t.Context(), func(context.Context, string) (*oauth.AccessToken, error) {
			return &oauth.AccessToken{Value: "at-1", Refresh: "rt-1"}, nil
		}); err == nil {
			t.Fatal("a token is used that could not be kept")
		}
		k.leave(o)
		time.Sleep(10 * keptFor)
		if !known(k) {
			t.Error("a refresh token that is nowhere else is forgotten")
		}
		time.Sleep(keptMost)
		synctest.Wait()
		if known(k) {
			t.Error("it is remembered for ever")
		}
	})
}
