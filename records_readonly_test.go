package rr_test

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

// TestRecordsOnAReadOnlyDisk: the gateway starts and serves, and says that it cannot write.
func TestRecordsOnAReadOnlyDisk(t *testing.T) {
	t.Run("a disk", func(t *testing.T) {
		disk := mountDisk(t, "8m")
		readOnly(t, disk.folder, func(only bool) {
			disk.remount(map[bool]string{true: "ro", false: "rw"}[only])
		})
	})
	t.Run("the file's mode", func(t *testing.T) {
		if os.Getuid() == 0 || runtime.GOOS == "windows" {
			t.Skip("file modes are for other users than root")
		}
		folder := filepath.Join(t.TempDir(), "store")
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		readOnly(t, folder, func(only bool) {
			file, dir := os.FileMode(0o600), os.FileMode(0o700)
			if only {
				file, dir = 0o400, 0o500
			}
			if err := os.Chmod(filepath.Join(folder, "rr.db"), file); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if err := os.Chmod(folder, dir); err != nil {
				t.Fatal(err)
			}
		})
	})
}

func readOnly(t *testing.T, folder string, only func(bool)) {
	u := rrtest.NewUpstream(t)
	d := prepareDaemon(t, "store bolt "+filepath.Join(folder, "rr.db"))
	only(true)
	d.refused("rr.db", "read-only", "let Caddy's user write") // there is nothing to serve, and nothing can be made
	only(false)
	d.start()
	key := d.usual(u)
	d.stop()

	only(true)
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

	only(false)
	d.start()
	d.ask("PUT", "proxies/p", `{"proxyAlias":"pay"}`, 200)
	d.serves(u, key)
	d.stop()
}

// TestConsentsOnADiskThatCannotBeWritten: a refresh token is used only if the one that takes
// its place can be kept, and when it can again, calls have tokens, with no other change.
func TestConsentsOnADiskThatCannotBeWritten(t *testing.T) {
	disk := mountDisk(t, "8m")
	s := newTokens(t)
	s.Rotate()
	c := &consenter{prepareDaemon(t, "store bolt "+filepath.Join(disk.folder, "rr.db")), s, rrtest.NewUpstream(t), ""}
	c.start()
	c.begin(s.Issuer, "rr", oauth2Secret)
	c.consent()
	c.calls()
	refused := func(what string) {
		t.Helper()
		asked := s.Count()
		for range 3 {
			c.callsNot()
		}
		if s.Count() != asked || s.Reused() != 0 {
			t.Errorf("%s: the token endpoint was asked %d times", what, s.Count()-asked)
		}
	}
	recovers := func(what string) {
		t.Helper()
		rrtest.Eventually(t, what+": calls have tokens again", func() bool {
			a, err := c.through("p", "/x", c.key)
			return err == nil && a.Status == 200
		})
		c.calls()
		if s.Reused() != 0 {
			t.Errorf("%s: a refresh token came twice", what)
		}
	}
	c.stop()
	disk.remount("ro")
	c.start()
	refused("a read-only disk")
	c.stop()
	disk.remount("rw")
	c.start()
	recovers("a disk that can be written again")
	c.kill()

	filler := filepath.Join(disk.folder, "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	c.start()
	// what is free in the store's own file is used up first, to the last page
	for i, full := 0, 0; full < 20; i++ {
		kind, body := "credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"bearer","credentialName":"filler-%d","credentialSecret":{"token":%q}}`, i, strings.Repeat("f", 30000))
		if full > 3 {
			kind, body = "credentials/drive/oauth2/authorize", `{"redirectUri":"https://gateway.example/back"}`
		}
		if a := c.ask("POST", kind, body, 200, 201, 507); a.Status == 507 {
			full++
		}
	}
	asked := s.Count()
	a, err := c.through("p", "/x", c.key)
	if err != nil || a.Status != 200 && a.Status != 502 || a.Status == 502 && s.Count() != asked {
		t.Errorf("a full disk: the proxy answers %d %s %v; the token endpoint was asked %d times", a.Status, a.Body, err, s.Count()-asked)
	}
	t.Logf("a full disk: %d", a.Status)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	recovers("a disk with room again")
	c.kill()
	c.start()
	recovers("the next start")
}
