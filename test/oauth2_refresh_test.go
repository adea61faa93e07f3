package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// byRefresh are the options for a refresh token in FILE.
const byRefresh = "grant refresh_token\ntoken_url TOKENURL\nclient_id rr\nclient_secret {env.OAUTH_SECRET}\nrefresh_token {file.FILE}"

func TestOAuth2RefreshToken(t *testing.T) {
	s := newTokens(t)
	first := s.Grant("rr")
	file := filepath.Join(t.TempDir(), "refresh")
	write(t, file, first+"\n")
	g, _ := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", file, 1)+"\nscopes a b")
	g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
	if form := s.Last(); form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != first || form.Get("scope") != "a b" {
		t.Errorf("the endpoint got %v", form)
	}
	// a new consent holds at once
	second := s.Grant("rr")
	write(t, file, second)
	rrtest.Eventually(t, "the new refresh token is used", func() bool {
		g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
		return s.Last().Get("refresh_token") == second
	})
	if s.Count() != 2 {
		t.Errorf("%d requests", s.Count())
	}
	noSecrets(t, g)
}

// TestOAuth2RotationInMemory: a refresh token that the endpoint replaces is followed, also
// across reloads and in credentials that ask for something else with it.
func TestOAuth2RotationInMemory(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	s.Members(map[string]any{"expires_in": 2})
	first := s.Grant("rr")
	file := filepath.Join(t.TempDir(), "refresh")
	write(t, file, first)
	lines := strings.Replace(byRefresh, "FILE", file, 1)
	other := "proxy q {\naccept key {env.RR_CALLER}\ntarget UPSTREAM\npresent oauth2 {\n" + strings.ReplaceAll(lines, "TOKENURL", s.URL()) + "\nscopes other\n}\n}"
	g, _ := startOAuth2(t, s, lines, "MORE", other)
	// both need the first token at the same time
	resume := s.Hang()
	var wait sync.WaitGroup
	for _, path := range []string{"/p/", "/q/"} {
		wait.Go(func() {
			if a := rrtest.Do(t, "GET", "http://"+g.addr+path, "", withKey); a.Status != 200 {
				t.Errorf("%s: %d", path, a.Status)
			}
		})
	}
	s.WaitCount(t, 1)
	time.Sleep(300 * time.Millisecond) // a second request would have come by now
	resume()
	wait.Wait()
	for round := range 3 {
		begun := s.Count()
		rrtest.Eventually(t, "both have new tokens", func() bool {
			g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
			g.get("/q/", withKey).want(t, 200, "proxy-access-granted")
			return s.Count() >= begun+2
		})
		if err := g.reload(strings.Replace(oauth2Proxy, "LINES", fmt.Sprintf("LINES\nparam round %d", round), 1)); err != nil {
			t.Fatal(err)
		}
	}
	if s.Reused() != 0 || s.Current(first) == "" {
		t.Errorf("a refresh token came twice (%d)", s.Reused())
	}
	if text, _ := os.ReadFile(file); string(text) != first {
		t.Error("the file was changed")
	}
	noSecrets(t, g)
}

// A refresh token that had been replaced was lost, and a person had to consent again.
// Sources: pomerium/pomerium#6282, onecli/onecli#363
// Here: The file has each new refresh token before the access token that came with it is used, and stays the operator's.
// Topic: refresh
func TestPeer_pomerium_6282_RotatedTokensAreKeptBeforeUse(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	first := s.Grant("rr")
	folder := t.TempDir()
	file, link := filepath.Join(folder, "real"), filepath.Join(t.TempDir(), "refresh")
	write(t, file, first+"\n")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	g, u := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", link, 1)+"\nkeep_rotated")
	inFile := func() string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSuffix(string(text), "\n")
	}
	var over atomic.Bool
	u.Handle("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kept := inFile(); !over.Load() && s.Good(r.Header.Get("Authorization")) && s.Current(kept) != kept {
			t.Error("an access token is used before its refresh token is kept")
		}
	}))
	token := func() string {
		t.Helper()
		u.Reset()
		g.get("/p/", withKey).want(t, 200, "proxy-access-granted")
		return one(t, u).Header.Get("Authorization")
	}
	before := token()
	if inFile() == first {
		t.Fatal("the new refresh token is not kept")
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(folder); len(entries) != 1 {
		t.Errorf("the folder has %v", entries)
	}
	if target, err := os.Readlink(link); err != nil || target != file {
		t.Errorf("the link was replaced: %v", err)
	}
	// that the file has changed is no reason for another token: it was the gateway itself
	time.Sleep(2500 * time.Millisecond)
	if token() != before || s.Count() != 1 {
		t.Errorf("%d requests", s.Count())
	}
	if err := g.reload(oauth2Proxy); err != nil {
		t.Fatal(err)
	}
	if token() != before || s.Count() != 1 {
		t.Errorf("after a reload: %d requests", s.Count())
	}
	if err := g.reload(strings.Replace(oauth2Proxy, "LINES", "LINES\nscopes more", 1)); err != nil {
		t.Fatal(err)
	}
	if token() == before || s.Reused() != 0 {
		t.Error("another definition has the old token, or an old refresh token was sent")
	}
	// the operator's own change is one; the token from before is used until the new one is kept
	over.Store(true)
	other := s.Grant("rr")
	write(t, file, other)
	rrtest.Eventually(t, "the new consent is used", func() bool { return s.Last().Get("refresh_token") == other || token() == "" })
	noSecrets(t, g)
}

// TestOAuth2DoesNotUseWhatItCannotKeep: while the file cannot be written, the refresh token
// is not sent at all.
func TestOAuth2DoesNotUseWhatItCannotKeep(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	first := s.Grant("rr")
	folder := filepath.Join(t.TempDir(), "secrets")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder, "refresh")
	write(t, file, first)
	g, _ := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", file, 1)+"\nkeep_rotated")
	if err := os.Rename(folder, folder+"-gone"); err != nil {
		t.Fatal(err)
	}
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	g.refusal(func(e map[string]any) bool {
		return strings.Contains(fmt.Sprint(e["reason"]), "cannot read the file of the refresh token")
	})
	if s.Count() != 0 {
		t.Error("the refresh token was sent")
	}
	if err := os.Rename(folder+"-gone", folder); err != nil {
		t.Fatal(err)
	}
	rrtest.Eventually(t, "it works again", func() bool { return g.get("/p/", withKey).Status == 200 })
}

// TestOAuth2AnswersLate: callers do not wait for a slow endpoint, but its answer is not lost:
// it holds the only refresh token that is still good.
func TestOAuth2AnswersLate(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	file := filepath.Join(t.TempDir(), "refresh")
	first := s.Grant("rr")
	write(t, file, first)
	resume := s.Hang()
	g, _ := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", file, 1)+"\ntimeout 1s")
	began := time.Now()
	g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	if took := time.Since(began); took > 1900*time.Millisecond {
		t.Errorf("the caller waited for %v", took)
	}
	resume()
	rrtest.Eventually(t, "the endpoint's answer is used", func() bool { return g.get("/p/", withKey).Status == 200 })
	if s.Reused() != 0 || s.Count() != 2 || s.Last().Get("refresh_token") == first {
		t.Errorf("%d requests, %d with an old refresh token", s.Count(), s.Reused())
	}
}

// A grant that had ended was tried again with each request.
// Sources: neondatabase/mcp-server-neon#231
// Here: The refusal is remembered, and the log says that a new consent is needed; it holds at once when it is there.
// Topic: refresh
func TestPeer_mcp_server_neon_231_AnEndedGrantIsNotHammered(t *testing.T) {
	s := newTokens(t)
	file := filepath.Join(t.TempDir(), "refresh")
	write(t, file, "rt-of-a-grant-that-has-ended")
	g, _ := startOAuth2(t, s, strings.Replace(byRefresh, "FILE", file, 1))
	for begun := time.Now(); time.Since(begun) < 2500*time.Millisecond; {
		g.get("/p/", withKey).want(t, 502, "target-credential-failed")
	}
	if s.Count() != 1 {
		t.Errorf("the endpoint was asked %d times", s.Count())
	}
	g.refusal(func(e map[string]any) bool { return strings.Contains(fmt.Sprint(e["reason"]), "400 invalid_grant") })
	write(t, file, s.Grant("rr"))
	rrtest.Eventually(t, "the new consent is used", func() bool { return g.get("/p/", withKey).Status == 200 })
}

// TestOAuth2KilledBetween kills the gateway when it has a new refresh token and begins to
// use the access token, several times: the grant lives on.
func TestOAuth2KilledBetween(t *testing.T) {
	s := newTokens(t)
	s.Rotate()
	first := s.Grant("rr")
	file := filepath.Join(t.TempDir(), "refresh")
	write(t, file, first)
	arrived := make(chan string)
	u := rrtest.NewUpstream(t)
	u.Handle("", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		arrived <- r.Header.Get("Authorization")
		<-r.Context().Done() // whoever asks is killed
	}))
	port, admin := rrtest.FreePort(t), rrtest.FreePort(t)
	p := newProcess(t, strings.NewReplacer("GATEPORT", fmt.Sprint(port), "UPSTREAM", u.URL, "MORE", "",
		"LINES", strings.NewReplacer("FILE", file, "TOKENURL", s.URL()).Replace(byRefresh)+"\nkeep_rotated").Replace(
		strings.Replace(oauth2Proxy, "{\n", fmt.Sprintf("{\n\tadmin 127.0.0.1:%d\n\tdefault_bind 127.0.0.1\n", admin), 1)))
	p.env = append(p.env, "OAUTH_SECRET="+oauth2Secret)
	seen := map[string]bool{}
	for round := range 3 {
		server := exec.Command(p.path, "run")
		server.Dir, server.Env = p.dir, p.env
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = server.Wait(); close(ended) }()
		go func() { // until the server listens
			for try := 0; try < 1000; try++ {
				req, _ := http.NewRequest(http.MethodGet, "http://"+rrtest.Addr(port)+"/p/", nil)
				req.Header.Set("X-API-Key", callerKey)
				if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
					res.Body.Close()
				}
				select {
				case <-ended:
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		}()
		var token string
		select {
		case token = <-arrived:
		case <-time.After(20 * time.Second):
			t.Errorf("round %d: no request arrives", round)
		}
		_ = server.Process.Kill()
		<-ended
		if !s.Good(token) || seen[token] {
			t.Errorf("round %d: the upstream got %q", round, token)
		}
		seen[token] = true
		text, err := os.ReadFile(file)
		if now := s.Current(first); err != nil || now == "" || strings.TrimSpace(string(text)) != now {
			t.Fatalf("round %d: the grant is lost (%v)", round, err)
		}
	}
	if s.Reused() != 0 || s.Count() != 3 {
		t.Errorf("%d requests, %d with an old refresh token", s.Count(), s.Reused())
	}
}
