package inject_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	_ "github.com/caddy-rr/caddy-rr"
	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

func init() { caddy.RegisterModule(new(numbered)) }

// numbered is a credential that is renewed by counting up.
type numbered struct{}

var (
	number   atomic.Int64
	renewals atomic.Int64
	stubborn atomic.Bool // nothing newer is to be had
)

func (*numbered) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: inject.Namespace + ".test_numbered", New: func() caddy.Module { return new(numbered) }}
}

func (*numbered) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { d.Next(); return nil }

func (*numbered) Inject(r *http.Request) error {
	r.Header.Set("Authorization", fmt.Sprintf("Bearer token-%d", number.Load()))
	return nil
}

func (*numbered) Renew(r *http.Request) (bool, error) {
	renewals.Add(1)
	if stubborn.Load() {
		return false, nil
	}
	var used int64
	if _, err := fmt.Sscanf(r.Header.Get("Authorization"), "Bearer token-%d", &used); err != nil {
		return false, err
	}
	number.CompareAndSwap(used, used+1)
	return true, nil
}

// wanting is an upstream that accepts one token; read says whether it reads the body
// before it refuses.
func wanting(accepted string, read bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+accepted {
			if read {
				_, _ = io.Copy(io.Discard, r.Body)
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "who are you?")
			return
		}
		sum := sha256.New()
		n, _ := io.Copy(sum, r.Body)
		fmt.Fprintf(w, "%d %s", n, hex.EncodeToString(sum.Sum(nil)))
	})
}

const (
	callerKey = "rr_live_caller-0123456789abcdef0123456789abcdef"
	withKey   = "Authorization: Bearer " + callerKey
)

// startNumbered starts a gateway to u and returns its address.
func startNumbered(t *testing.T, u *rrtest.Upstream) string {
	t.Helper()
	return startNumberedAt(t, u.URL)
}

func startNumberedAt(t *testing.T, target string) string {
	t.Helper()
	t.Setenv("RR_CALLER", callerKey)
	port := rrtest.FreePort(t)
	rrtest.Start(t, fmt.Sprintf(`
{
	rr {
		proxy p {
			accept key {env.RR_CALLER}
			target %s
			present test_numbered
		}
	}
}
:%d {
	rr_proxy p
}
`, target, port))
	number.Store(0)
	renewals.Store(0)
	stubborn.Store(false)
	return "http://" + rrtest.Addr(port)
}

// A token that had been revoked was sent until its time was over, or was sent again as it was when the upstream had refused it; some vendors
// answer 401 when they have too much to do, and were then asked without end.
// Sources: coupergateway/couper#167, wso2/docs-apim#10262, esengine/DeepSeek-Reasonix#4106, Infisical/agent-vault
// Here: After an upstream's 401 a new token is fetched and the request sent once more, if its body can be. The second 401 is the
// caller's to see; 403 is no reason, nor is a 401 where nothing newer can be had.
// Topic: retry
func TestPeer_couper_167_OneRetryWithANewToken(t *testing.T) {
	u := rrtest.NewUpstream(t)
	addr := startNumbered(t, u)
	u.Handle("/reads", wanting("token-1", true))
	u.Handle("/early", wanting("token-1", false))
	u.Handle("/never", wanting("another", true))
	u.Handle("/forbidden", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	small, large := strings.Repeat("x", 300_000), strings.Repeat("y", 1<<20+1)
	digestOf := func(body string) string {
		sum := sha256.Sum256([]byte(body))
		return fmt.Sprintf("%d %s", len(body), hex.EncodeToString(sum[:]))
	}
	for _, c := range []struct {
		name, path, body  string
		stubborn          bool
		status, renewals  int
		upstreamCalls     int
		answer, challenge string
	}{
		{"no body", "/reads", "", false, 200, 1, 2, digestOf(""), ""},
		{"a body", "/reads", small, false, 200, 1, 2, digestOf(small), ""},
		{"a body that the upstream did not wait for", "/early", small, false, 200, 1, 2, digestOf(small), ""},
		{"a large body", "/reads", large, false, 401, 0, 1, "who are you?", "Bearer"},
		{"nothing newer", "/reads", small, true, 401, 1, 1, "who are you?", "Bearer"},
		{"the second refusal is the upstream's", "/never", small, false, 401, 1, 2, "who are you?", "Bearer"},
		{"403 is no reason", "/forbidden", small, false, 403, 0, 1, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			number.Store(0)
			renewals.Store(0)
			stubborn.Store(c.stubborn)
			u.Reset()
			a := rrtest.Do(t, http.MethodPost, addr+c.path, c.body, withKey)
			if a.Status != c.status || a.Header.Get("RR-Proxy-Code") != "proxy-access-granted" {
				t.Errorf("got %d %q", a.Status, a.Header.Get("RR-Proxy-Code"))
			}
			if a.Body != c.answer || a.Header.Get("WWW-Authenticate") != c.challenge {
				t.Errorf("the answer is %q with %q", a.Body, a.Header.Get("WWW-Authenticate"))
			}
			if int(renewals.Load()) != c.renewals || len(u.Received()) != c.upstreamCalls {
				t.Errorf("%d renewals, %d calls", renewals.Load(), len(u.Received()))
			}
		})
	}
}

// TestRetriesInParallel: callers whose credential is refused at the same time renew it once.
func TestRetriesInParallel(t *testing.T) {
	u := rrtest.NewUpstream(t)
	addr := startNumbered(t, u)
	u.Handle("/", wanting("token-1", true))
	client := rrtest.HTTP1(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			res, err := client.Do(rrtest.Request(t, "POST", addr+"/", "body", withKey))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != 200 || !bytes.HasPrefix(body, []byte("4 ")) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	wg.Wait()
	if n := number.Load(); n != 1 {
		t.Errorf("%d tokens were made", n)
	}
}

// TestRetryWhileTheCallerUploads: an upstream that refuses early, over HTTP/2 too, gets the
// whole body the second time.
func TestRetryWhileTheCallerUploads(t *testing.T) {
	for _, scheme := range []string{"http", "h2c"} {
		for _, length := range []int64{-1, 50} {
			t.Run(fmt.Sprint(scheme, length), func(t *testing.T) {
				u := rrtest.NewUpstream(t)
				u.Handle("/up", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "Bearer token-1" {
						_, _ = io.ReadFull(r.Body, make([]byte, 5))
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					b, err := io.ReadAll(r.Body)
					fmt.Fprintf(w, "%s %v", b, err)
				}))
				addr := startNumberedAt(t, scheme+"://"+u.Addr)
				body, write := io.Pipe()
				req := rrtest.Request(t, "POST", addr+"/up", "", withKey)
				req.Body, req.ContentLength = body, length
				go func() {
					for i := range 10 {
						fmt.Fprintf(write, "part%d", i)
						time.Sleep(20 * time.Millisecond)
					}
					write.Close()
				}()
				a := rrtest.Send(t, rrtest.HTTP1(t, nil), req)
				if want := "part0part1part2part3part4part5part6part7part8part9 <nil>"; a.Status != 200 || a.Body != want {
					t.Errorf("%d %q", a.Status, a.Body)
				}
			})
		}
	}
}

// TestRetryDoesNotWaitForTheRefusal: the body of a 401 that does not end keeps nobody.
func TestRetryDoesNotWaitForTheRefusal(t *testing.T) {
	u := rrtest.NewUpstream(t)
	u.Handle("/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, "no")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, "ok")
	}))
	if a := rrtest.Do(t, "GET", startNumbered(t, u)+"/", "", withKey); a.Status != 200 || a.Body != "ok" {
		t.Errorf("%d %q", a.Status, a.Body)
	}
}
