package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// TestDeletingACredentialEndsEverything: the next request is refused, and open streams end.
func TestDeletingACredentialEndsEverything(t *testing.T) {
	m := startManaged(t)
	caller, key, _ := m.usual()
	other, otherKey := m.caller("other")
	m.want(m.ask("PUT", "proxies/p", fmt.Sprintf(`{"proxyProxyCredentialIds":[%q,%q]}`, caller, other)), 200)
	m.u.Handle("/events", rrtest.NewEvents())
	open := func(key string) (*http.Response, chan time.Time) {
		res, err := rrtest.HTTP1(t, nil).Do(rrtest.Request(t, "GET", "http://"+m.addr+"/api/p/events", "", "Authorization: "+key))
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("the stream does not begin: %v %v", res, err)
		}
		ended := make(chan time.Time, 1)
		go func() {
			_, _ = io.Copy(io.Discard, res.Body)
			ended <- time.Now()
		}()
		return res, ended
	}
	mine, mineEnded := open(key)
	defer mine.Body.Close()
	theirs, theirsEnded := open(otherKey)
	defer theirs.Body.Close()

	deleted := time.Now()
	m.want(m.ask("DELETE", "credentials/agent?force=true", ""), 200)
	m.get("/api/p/x", "Authorization: "+key).want(t, 401, "proxy-access-denied")
	select {
	case at := <-mineEnded:
		if d := at.Sub(deleted); d > time.Second {
			t.Errorf("the stream ends %v after the deletion", d)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the stream goes on")
	}
	m.get("/api/p/x", "Authorization: "+otherKey).want(t, 200, "proxy-access-granted")
	select {
	case <-theirsEnded:
		t.Error("another caller's stream has ended")
	default:
	}
	// a rule does not end streams, but whoever may not call the proxy any more loses them
	m.want(m.ask("PUT", "proxies/p", `{"proxyActive":false}`), 200)
	select {
	case <-theirsEnded:
	case <-time.After(30 * time.Second):
		t.Fatal("the stream of an inactive proxy goes on")
	}
}

// A caller or an upstream had one live credential only, so that replacing it meant refusals.
// Sources: Infisical/agent-vault, Kong/kong
// Here: A caller's earlier keys stay good for an overlap, and the upstream's new one holds from the next request: no call of 500 a second is
// refused through eight rotations of both.
// Topic: rotation
func TestPeer_Requirement_NobodyIsRefusedDuringARotation(t *testing.T) {
	m := startManaged(t)
	_, first, _ := m.usual()
	var key atomic.Value
	key.Store(first)
	var good sync.Map // what the upstream takes
	good.Store("Bearer "+vendorKey, true)
	m.u.Handle("/work", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := good.Load(r.Header.Get("Authorization")); !ok {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	stop := make(chan struct{})
	var done, refused atomic.Int64
	var wg sync.WaitGroup
	client := rrtest.HTTP1(t, nil)
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = 32
	for range 10 { // 500 a second together
		wg.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				req := rrtest.Request(t, "GET", "http://"+m.addr+"/api/p/work", "", "Authorization: Bearer "+key.Load().(string))
				res, err := client.Do(req)
				if err != nil {
					refused.Add(1)
					t.Log(err)
					continue
				}
				_, _ = io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if done.Add(1); res.StatusCode != http.StatusOK {
					refused.Add(1)
					t.Logf("status %d %s", res.StatusCode, res.Header.Get("RR-Proxy-Code"))
				}
			}
		})
	}
	old := first
	for i := range 8 { // which is how many earlier keys may be accepted
		a := m.ask("POST", "credentials/agent/rotate", `{"overlap":"1h"}`)
		m.want(a, 200)
		fresh, _ := m.first("credentials", a)["credentialSecret"].(map[string]any)["key"].(string)
		if fresh == "" || fresh == old {
			t.Fatalf("no new key in %s", a.Body)
		}
		key.Store(fresh)
		old = fresh
		vendor := fmt.Sprintf("sk_test_rotated-%d-0123456789abcdef", i)
		good.Store("Bearer "+vendor, true)
		m.want(m.ask("POST", "credentials/vendor-key/rotate", `{"credentialSecret":{"token":"`+vendor+`"}}`), 200)
		m.u.Handle("/probe", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) }))
		if a := m.get("/api/p/probe", "Authorization: "+fresh); a.Body != "Bearer "+vendor {
			t.Errorf("the request after the rotation has %q", a.Body)
		}
		rrtest.Eventually(t, "there is load", func() bool { return done.Load() > int64(i+1)*50 })
	}
	close(stop)
	wg.Wait()
	if refused.Load() > 0 {
		t.Errorf("%d of %d calls were refused", refused.Load(), done.Load())
	}
	t.Logf("%d calls", done.Load())
	// without an overlap the old key is over at once
	a := m.ask("POST", "credentials/agent/rotate", `{}`)
	m.want(a, 200)
	m.get("/api/p/work", "Authorization: "+old).want(t, 401, "proxy-access-denied")
}

func TestTwoEditors(t *testing.T) {
	m := startManaged(t)
	m.usual()
	a := m.ask("GET", "proxies/p", "")
	tag := a.Header.Get("Etag")
	if tag == "" {
		t.Fatal("no ETag")
	}
	put := func(body string) int {
		req, err := http.NewRequest("PUT", "http://127.0.0.1/rr/clients/default/proxies/p", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("If-Match", tag)
		return m.AdminRequest(req).Status
	}
	var statuses [8]int
	var wg sync.WaitGroup
	for i := range statuses {
		wg.Go(func() { statuses[i] = put(fmt.Sprintf(`{"maxBody":%d}`, 1000+i)) })
	}
	wg.Wait()
	won := 0
	for _, s := range statuses {
		switch s {
		case 200:
			won++
		case http.StatusPreconditionFailed:
		default:
			t.Errorf("status %d", s)
		}
	}
	if won != 1 {
		t.Errorf("%d editors of one version have won", won)
	}
}

func TestParallelCreatesThroughTheAPI(t *testing.T) {
	m := startManaged(t)
	m.usual()
	const n = 1000
	ids, aliases := sync.Map{}, atomic.Int64{}
	var wg sync.WaitGroup
	work := make(chan int)
	for range 32 {
		wg.Go(func() {
			for i := range work {
				a := m.ask("POST", "proxies", fmt.Sprintf(`{"proxyName":"p-%d","proxyAlias":"alias-%d","proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":"vendor-key"}`, i, i%(n/2)))
				switch a.Status {
				case 201:
					if _, twice := ids.LoadOrStore(m.first("proxies", a)["proxyId"], true); twice {
						t.Error("an id is there twice")
					}
					aliases.Add(1)
				case 409: // the alias is taken
				default:
					t.Errorf("%d: %d %s", i, a.Status, a.Body)
				}
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	wg.Wait()
	if aliases.Load() != n/2 {
		t.Errorf("%d proxies with %d aliases", aliases.Load(), n/2)
	}
	seen := 0
	for cursor := ""; ; {
		var page struct {
			Proxies []struct{ ProxyID string }
			Cursor  string
		}
		a := m.ask("GET", "proxies?limit=97&cursor="+cursor, "")
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		for _, p := range page.Proxies {
			if _, ok := ids.Load(p.ProxyID); ok {
				seen++
			}
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if seen != n/2 {
		t.Errorf("%d of %d proxies are listed", seen, n/2)
	}
}

// Keys are in the database as they are, or looked up by their value, so that whoever reads it, or a backup, has
// them.
// Sources: Kong/kong#5437, Kong/kong#1237, onecli/onecli, honeybadger-io/caddy-token-checker
// Here: Keys of callers are kept as SHA-256 in sealed records, secrets for upstreams sealed; neither is in any file, answer or log.
// Topic: keys
func TestPeer_kong_5437_KeysAtRest(t *testing.T) {
	m := startManaged(t)
	canary := func(i int) string { return fmt.Sprintf("canary-%d-5d1f3b7a9c2e4860", i) }
	m.made("targets", `{"targetName":"vendor","targetBaseURL":"`+m.u.URL+`"}`)
	_, key := m.caller("agent")
	secrets := []string{key}
	pem := string(idp.NewKey(t, "RS256", "k").PrivatePEM())
	quoted, _ := json.Marshal(pem)
	secrets = append(secrets, strings.Split(pem, "\n")[3])
	for i, body := range []string{
		`"key","credentialSecret":{"key":"@@"}`, `"bearer","credentialSecret":{"token":"@@"}`, `"basic","credentialSecret":{"username":"u","password":"@@"}`,
		`"jwt","credentialSecret":{"token":"@@"}`, `"jwt","credentialSecret":{"secret":"@@-0123456789-0123456789","claims":{"iss":"x"}}`,
		`"custom","credentialSecret":{"headers":{"X-One":"@@","X-Two":"two-@@"}}`,
		`"oauth2","credentialSecret":{"grant":"client_credentials","tokenUrl":"http://127.0.0.1:9/token","clientId":"x","clientSecret":"@@"}`,
		`"sigv4","credentialSecret":{"accessKeyId":"AKIDEXAMPLE","secretAccessKey":"@@","region":"us-east-1","service":"s3"}`,
		`"jwt","credentialSecret":{"privateKey":` + string(quoted) + `,"algorithm":"RS256","claims":{"iss":"x"}}`,
	} {
		name := fmt.Sprintf("t%d", i)
		secrets = append(secrets, canary(i))
		m.made("credentials", fmt.Sprintf(`{"credentialType":"target","credentialName":%q,"credentialAuthType":%s}`, name, strings.ReplaceAll(body, "@@", canary(i))))
		m.made("proxies", fmt.Sprintf(`{"proxyName":%q,"proxyProxyCredentialId":"agent","proxyTargetId":"vendor","proxyTargetCredentialId":%q}`, name, name))
		m.get("/api/"+name+"/x", "Authorization: "+key)
	}
	for i, body := range []string{
		`"key","credentialSecret":{"key":"@@-with-much-randomness"}`, `"bearer","credentialSecret":{"token":"@@-with-much-randomness"}`,
		`"basic","credentialSecret":{"username":"u","password":"@@"}`, `"jwtVerify","credentialSecret":{"secret":"@@-0123456789-0123456789","issuer":"https://i.example","audience":"a"}`,
	} {
		i += 100
		secrets = append(secrets, canary(i))
		m.made("credentials", fmt.Sprintf(`{"credentialType":"proxy","credentialName":"c%d","credentialAuthType":%s}`, i, strings.ReplaceAll(body, "@@", canary(i))))
		m.want(m.ask("PUT", "proxies/t0", fmt.Sprintf(`{"proxyProxyCredentialIds":["agent","c%d"]}`, i)), 200)
		m.get("/api/t0/x", "Authorization: "+canary(i))
	}
	// wrong bodies with secrets in all the wrong places
	for _, body := range []string{
		`{"credentialType":"target","credentialAuthType":"key","credentialName":"x","credentialSecret":{"key":{"a":"@@"}}}`,
		`{"credentialType":"target","credentialAuthType":"jwt","credentialName":"x","credentialSecret":{"privateKey":"@@","algorithm":"RS256"}}`,
		`{"credentialType":"target","credentialAuthType":"key","credentialName":"x","credentialSecret":"@@"}`,
		`{"credentialType":"target","credentialAuthType":"key","credentialName":"x","credentialSecret":{"@@":"@@"}}`, `["@@"]`, `"@@"`, `{"@@`,
	} {
		a := m.ask("POST", "credentials", strings.ReplaceAll(body, "@@", canary(999)))
		if a.Status < 400 || a.Status >= 500 {
			t.Errorf("%s: %d", body, a.Status)
		}
		if strings.Contains(a.Body, canary(999)) && !strings.Contains(body, `{"@@"`) {
			t.Errorf("%s: the answer quotes it: %s", body, a.Body)
		}
	}
	secrets = append(secrets, "canary-999-")

	places := map[string]string{
		"credentials": m.ask("GET", "credentials", "").Body, "proxies": m.ask("GET", "proxies", "").Body, "targets": m.ask("GET", "targets", "").Body,
		"audit": m.Admin("GET", "/rr/audit", "").Body, "tokens": m.Admin("GET", "/rr/tokens", "").Body, "health": m.Admin("GET", "/rr/health", "").Body,
		"config": m.Admin("GET", "/config/", "").Body, "metrics": m.Metrics(), "openapi": m.Admin("GET", "/rr/openapi.json", "").Body,
		"backup": m.Admin("GET", "/rr/store/backup", "").Body,
		"export": m.Admin("POST", "/rr/store/export", `{"passphrase":"correct horse battery staple"}`).Body,
		"log":    m.Logs(),
	}
	err := filepath.Walk(filepath.Dir(m.Dir), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			places[path] = string(text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stored := false
	for place, text := range places {
		stored = stored || strings.HasSuffix(place, "rr.db")
		if len(text) == 0 && !strings.HasSuffix(place, ".lock") {
			t.Errorf("%s is empty: nothing was looked at", place)
		}
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				t.Errorf("%s shows %q: …%q…", place, s, text[max(0, i-200):min(len(text), i+len(s)+20)])
			}
		}
	}
	if !stored {
		t.Error("the store's file was not among them")
	}
	if !bytes.Contains([]byte(places["export"]), []byte{0}) {
		t.Errorf("the export is no archive: %.200s", places["export"])
	}
}
