package test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// descriptors is how many files and connections the process has open, where the system
// tells; else 0.
func descriptors(t *testing.T) float64 {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return float64(len(entries))
}

// TestReloadsLeaveNothing reloads 100 times while what was made through the API serves: a
// proxy whose callers have tokens of an issuer (a loop fetches its keys), and whose upstream
// gets a token of OAuth (fetched, and shared by configurations). Afterwards there are no more
// goroutines, memory and open files than before, and nothing was fetched again.
func TestReloadsLeaveNothing(t *testing.T) {
	m := startManaged(t)
	p := idp.New(t)
	p.AddKey("ES256", "k1")
	s := idp.NewTokens(t, idp.TokenClient{ID: "rr", Auth: "client_secret_basic", Secret: oauth2Secret})
	m.made("credentials", fmt.Sprintf(`{"credentialType":"proxy","credentialAuthType":"jwtVerify","credentialName":"users","credentialSecret":{"issuer":%q,"audience":%q}}`, p.Issuer(), idp.Audience))
	m.made("credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"oauth2","credentialName":"vendor","credentialSecret":{"grant":"client_credentials","tokenUrl":%q,"clientId":"rr","clientSecret":%q}}`, s.URL(), oauth2Secret))
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	m.made("proxies", `{"proxyName":"p","proxyProxyCredentialId":"users","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor"}`)
	bearer := "Authorization: Bearer " + p.Token("k1", nil, nil)

	reload := func(i int) {
		if err := m.reload(strings.Replace(recordsGateway, "egress", fmt.Sprintf("credential of-%d accept key {env.RR_CALLER}\n\t\tegress", i), 1)); err != nil {
			t.Fatal(err)
		}
		if a := m.get("/api/p/v1/x", bearer); a.Status != 200 {
			t.Fatalf("reload %d: %d %s", i, a.Status, a.Body)
		}
	}
	for i := range 5 { // what is made once is made
		reload(i)
	}
	goroutines, heap := usage()
	files, keys, tokens := descriptors(t), p.JWKSFetches(), s.Count()
	for i := range 100 {
		reload(5 + i)
	}
	var now, mem, open float64
	small := func() bool {
		now, mem = usage()
		open = descriptors(t)
		return now <= goroutines+10 && mem <= heap+8 && open <= files+10
	}
	for end := time.Now().Add(20 * time.Second); !small() && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond) // shutdowns of old configurations end within seconds
	}
	t.Logf("goroutines %v → %v, heap %.1f → %.1f MiB, descriptors %v → %v", goroutines, now, heap, mem, files, open)
	if !small() {
		t.Errorf("100 reloads leave something behind\n%s", stacks())
	}
	if k, a := p.JWKSFetches(), s.Count(); k != keys || a != tokens {
		t.Errorf("keys were fetched %d times, tokens %d times", k-keys, a-tokens)
	}
	if a := m.get("/api/p/v1/x", bearer); a.Status != 200 {
		t.Errorf("at last: %d", a.Status)
	}
}
