package test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// frozen is a folder that can be made read-only: as a disk of its own, or for who may not
// mount one by its mode, which root does not heed.
func frozen(t *testing.T) (folder string, freeze func(bool)) {
	t.Helper()
	if runtime.GOOS == "linux" && os.Getuid() == 0 {
		disk := mountDisk(t, "8m")
		return disk.folder, func(only bool) { disk.remount(map[bool]string{true: "ro", false: "rw"}[only]) }
	}
	if os.Getuid() <= 0 {
		t.Skip("not here: file modes say nothing")
	}
	folder = filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	return folder, func(only bool) {
		file, dir := os.FileMode(0o600), os.FileMode(0o700)
		if only {
			file, dir = 0o400, 0o500
		}
		if err := os.Chmod(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(folder, "rr.db"), file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Chmod(folder, dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRecordsOnAReadOnlyDisk: the gateway starts and serves, and says that it cannot write.
func TestRecordsOnAReadOnlyDisk(t *testing.T) {
	folder, freeze := frozen(t)
	u := rrtest.NewUpstream(t)
	d := prepareDaemon(t, "store bolt "+filepath.Join(folder, "rr.db"))
	freeze(true)
	d.refused("rr.db", "the store cannot be written", "let Caddy's user write") // there is nothing to serve, and nothing can be made
	freeze(false)
	d.start()
	key := d.usual(u)
	d.stop()

	freeze(true)
	before := hashes(t, folder)
	d.start()
	d.serves(u, key)
	for _, c := range [][3]string{
		{"POST", "credentials", `{"credentialType":"proxy","credentialAuthType":"key","credentialName":"other"}`},
		{"PUT", "proxies/p", `{"proxyActive":false}`}, {"DELETE", "proxies/p", ""}, {"POST", "credentials/agent/rotate", ""},
		{"POST", "proxies/p/rules", `{"effect":"deny"}`}, {"POST", "blocklist", `{"jti":"x"}`}, {"POST", "/rr/store/rotate-key", ""},
	} {
		a := d.ask(c[0], c[1], c[2], http.StatusServiceUnavailable)
		if !strings.Contains(a.Body, `"code":"store-read-only"`) || a.Header.Get("Content-Type") != "application/problem+json" || a.Header.Get("Retry-After") == "" {
			t.Errorf("%s %s: %v %s", c[0], c[1], a.Header, a.Body)
		}
	}
	if a := d.ask("GET", "/rr/health", "", 200); !strings.Contains(a.Body, `"status":"degraded"`) {
		t.Errorf("health: %s", a.Body)
	}
	d.ask("GET", "/rr/store/backup", "", 200)
	d.ask("GET", "/rr/audit/verify", "", 200)
	d.ask("GET", "proxies/p", "", 200)
	d.serves(u, key)
	d.stop()
	if after := hashes(t, folder); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}

	freeze(false)
	d.start()
	d.ask("PUT", "proxies/p", `{"proxyAlias":"pay"}`, 200)
	d.serves(u, key)
	d.stop()
}

// kept is a gateway with a consent, whose refresh tokens are good for once.
type kept struct{ *consenter }

func newKept(t *testing.T, folder string) *kept {
	t.Helper()
	s := newTokens(t)
	s.Rotate()
	c := &consenter{prepareDaemon(t, "store bolt "+filepath.Join(folder, "rr.db")), s, rrtest.NewUpstream(t), ""}
	c.start()
	c.begin(s.Issuer, "rr", oauth2Secret)
	c.consent()
	c.calls()
	return &kept{c}
}

// recovers waits until calls have tokens, with nobody changing anything.
func (k *kept) recovers() {
	k.t.Helper()
	rrtest.Eventually(k.t, "calls have tokens again", func() bool {
		a, err := k.through("p", "/x", k.key)
		return err == nil && a.Status == 200
	})
	k.calls()
	if k.s.Reused() != 0 {
		k.t.Error("a refresh token came twice")
	}
}

// TestConsentsOnAReadOnlyDisk: a refresh token is not used if the one that takes its place
// cannot be kept.
func TestConsentsOnAReadOnlyDisk(t *testing.T) {
	folder, freeze := frozen(t)
	k := newKept(t, folder)
	k.stop()
	freeze(true)
	k.start()
	asked := k.s.Count()
	for range 3 {
		k.callsNot()
	}
	if k.s.Count() != asked {
		t.Errorf("the token endpoint was asked %d times", k.s.Count()-asked)
	}
	k.stop()
	freeze(false)
	k.start()
	k.recovers()
	k.stop()
}

// TestConsentsOnAFullDisk: with room again calls have tokens, whatever failed before.
func TestConsentsOnAFullDisk(t *testing.T) {
	disk := mountDisk(t, "8m")
	k := newKept(t, disk.folder)
	k.kill()
	filler := filepath.Join(disk.folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	k.start()
	// what is free in the store's own file is used up first, to the last page
	for i, full := 0, 0; full < 20; i++ {
		kind, body := "credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"bearer","credentialName":"filler-%d","credentialSecret":{"token":%q}}`, i, strings.Repeat("f", 30000))
		if full > 3 {
			kind, body = "credentials/drive/oauth2/authorize", `{"redirectUri":"https://gateway.example/back"}`
		}
		if a := k.ask("POST", kind, body, 200, 201, 507); a.Status == 507 {
			full++
		}
	}
	asked := k.s.Count()
	a, err := k.through("p", "/x", k.key)
	if err != nil || a.Status != 200 && a.Status != 502 || a.Status == 502 && k.s.Count() != asked {
		t.Errorf("the proxy answers %d %s %v; the token endpoint was asked %d times", a.Status, a.Body, err, k.s.Count()-asked)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	k.recovers()
	k.kill()
	k.start()
	k.recovers()
	k.stop()
}
