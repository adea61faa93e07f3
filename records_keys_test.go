package rr_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// hashes lists the files of a folder with what is in them.
func hashes(t testing.TB, folder string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %s %x\n", path, info.Mode(), sha256.Sum256(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Keys that a store may be sealed with.
const (
	firstKey  = "UW6hxMSO5k2y1y5yJtYyl8oLSu9Ff9rKj0z3BoxlqVY="
	secondKey = "7pq0yTTgXTBa5TWkpX9d2X2QcUyPZ0uhWG9YQeBkaQ8="
	thirdKey  = "c1nAtt5Vw0m8jI7F3Yw4dGQmR2b6x9KeHs1Lz0UoPqE="
)

func TestTheStoreOfAnotherProcess(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	d.ask("GET", "/rr/health", "", 200)
	before := hashes(t, filepath.Dir(d.dbFile()))
	second := prepareDaemon(t, "store bolt "+d.dbFile())
	second.refused(d.dbFile(), "another Caddy may still be running", "store bolt <path>")
	if after := hashes(t, filepath.Dir(d.dbFile())); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	d.serves(u, key)
	d.ask("PUT", "proxies/p", `{"proxyAlias":"pay"}`, 200)
	d.stop()
	second.start() // which has all that the first one had
	second.serves(u, key)
	second.ask("GET", "proxies/pay", "", 404) // an alias is for callers
	second.stop()
}

// TestAStoreThatCannotBeOpened: the start is refused, the message says why, and nothing is changed.
func TestAStoreThatCannotBeOpened(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	d.stop()
	folder, file := filepath.Dir(d.dbFile()), d.keyFile()
	edit := func(path string, change func([]byte) []byte) func() func() {
		return func() func() {
			was, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(was), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := os.WriteFile(path, was, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mode := func(path string) func() func() {
		return func() func() {
			if err := os.Chmod(path, 0o640); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Chmod(path, 0o600) }
		}
	}
	for _, tt := range []struct {
		name  string
		store string
		edit  func() (undo func())
		texts []string
	}{
		{"another encryption key", "encryption_key " + secondKey, nil, []string{d.dbFile(), "sealed with another key"}},
		{"two other keys", "encryption_key " + secondKey + " " + thirdKey, nil, []string{"sealed with another key"}},
		{"no key at all", "encryption_key correct-horse-battery-staple", nil, []string{"encryption_key: key 1", "openssl rand -base64 32"}},
		{"another key file", "", edit(file, func([]byte) []byte { return []byte(secondKey + "\n") }), []string{"sealed with another key"}},
		{"a key file with something else", "", edit(file, func([]byte) []byte { return []byte("hello") }), []string{file, "openssl rand -base64 32"}},
		{"an empty key file", "", edit(file, func([]byte) []byte { return nil }), []string{file, "openssl rand -base64 32"}},
		{"a key file that others can read", "", mode(file), []string{file, "mode 0640", "chmod 600 " + file}},
		{"a store that others can read", "", mode(d.dbFile()), []string{d.dbFile(), "mode 0640", "chmod 600 " + d.dbFile()}},
		{"no key file", "", func() func() {
			if err := os.Rename(file, file+".away"); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Rename(file+".away", file) }
		}, []string{"key is missing", "put the key file back, or set encryption_key", file}},
		{"half a store", "", edit(d.dbFile(), func(b []byte) []byte { return b[:len(b)/64] }), []string{d.dbFile(), "damaged", "backup"}},
		{"something else than a store", "", edit(d.dbFile(), func(b []byte) []byte { return []byte(strings.Repeat("something else ", len(b)/15)) }), []string{d.dbFile(), "damaged"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			undo := func() {}
			if tt.edit != nil {
				undo = tt.edit()
			}
			before := hashes(t, folder)
			d.setStore("store bolt\n" + tt.store)
			d.refused(tt.texts...)
			if after := hashes(t, folder); after != before {
				t.Errorf("files before:\n%s\nafter:\n%s", before, after)
			}
			for _, k := range []string{firstKey, secondKey, thirdKey, "correct-horse"} {
				if strings.Contains(d.log.String(), k) {
					t.Error("the log shows a key")
				}
			}
			undo()
		})
	}
	d.setStore("store bolt")
	d.start()
	d.serves(u, key)
	d.stop()
}

// load gives the process its configuration anew, as `caddy reload` does.
func (d *daemon) load() rrtest.Answer {
	d.t.Helper()
	d.writeConfig()
	text, err := os.ReadFile(filepath.Join(d.dir, "Caddyfile"))
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := d.send("POST", d.admin+"/load", string(text), "Content-Type: text/caddyfile", "Cache-Control: must-revalidate")
	if err != nil {
		d.t.Fatal(err)
	}
	return a
}

// persistent sends again what breaks off: Caddy has replaced the server just then.
func persistent(send func() (rrtest.Answer, error)) (a rrtest.Answer, err error) {
	for range 200 {
		if a, err = send(); err == nil {
			return a, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return a, err
}

// busy has the usual proxy called, and it and the credentials more-0 to more-n changed,
// until end. Each of that has to succeed.
func busy(d *daemon, key string, n int, calls, changes *atomic.Int64) (end func()) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(count *atomic.Int64, send func(i int64) (rrtest.Answer, error)) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := persistent(func() (rrtest.Answer, error) { return send(count.Load()) })
				if err != nil || a.Status >= 300 {
					d.t.Errorf("%d %s %v", a.Status, a.Body, err)
					return
				}
				count.Add(1)
			}
		})
	}
	for range 2 {
		loop(calls, func(int64) (rrtest.Answer, error) { return d.through("p", "/x", key) })
		loop(changes, func(i int64) (rrtest.Answer, error) {
			return d.call("PUT", "proxies/p", fmt.Sprintf(`{"proxyMaxBody":%d}`, 1000+i%1000))
		})
		loop(changes, func(i int64) (rrtest.Answer, error) {
			return d.call("PUT", fmt.Sprintf("credentials/more-%d", int(i)%n), fmt.Sprintf(`{"credentialSecret":{"token":"changed-%d-0123456789abcdef"}}`, i))
		})
	}
	return sync.OnceFunc(func() {
		close(stop)
		wg.Wait()
	})
}

// more makes target credentials more-0 to more-n.
func (d *daemon) more(n int) {
	d.t.Helper()
	for i := range n {
		d.made("credentials", fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"bearer","credentialName":"more-%d","credentialSecret":{"token":"more-%d-0123456789abcdef"}}`, i, i))
	}
}

// TestRecordsChangeWhileConfigurationsDo: no change is refused because its configuration ends.
func TestRecordsChangeWhileConfigurationsDo(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	d.more(10)
	var calls, changes atomic.Int64
	end := busy(d, key, 10, &calls, &changes)
	defer end()
	for range 25 {
		if a := d.load(); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		before := changes.Load()
		rrtest.Eventually(t, "changes go on", func() bool { return changes.Load() > before+5 || t.Failed() })
	}
	end()
	d.serves(u, key)
	d.stop()
	t.Logf("%d calls and %d changes", calls.Load(), changes.Load())
}

// TestKeysChangeWhileTheStoreIsUsed: the key that seals the store and the keys in it are
// replaced while requests and changes go on.
func TestKeysChangeWhileTheStoreIsUsed(t *testing.T) {
	u := rrtest.NewUpstream(t)
	d := newDaemon(t, "store bolt\nencryption_key "+firstKey)
	key := d.usual(u)
	d.more(200) // which a rotation has to seal anew
	var calls, changes atomic.Int64
	end := busy(d, key, 200, &calls, &changes)
	defer end()
	rotate := func() {
		t.Helper()
		for range 3 {
			var done struct{ Records int }
			a, err := persistent(func() (rrtest.Answer, error) { return d.call("POST", "/rr/store/rotate-key", "") })
			if err != nil || a.Status != 200 {
				t.Fatalf("rotation: %d %s %v", a.Status, a.Body, err)
			}
			if err := json.Unmarshal([]byte(a.Body), &done); err != nil || done.Records < 200 {
				t.Errorf("rotation: %s", a.Body)
			}
		}
		calls0, changes0 := calls.Load(), changes.Load()
		rrtest.Eventually(t, "calls and changes go on", func() bool { return calls.Load() > calls0+10 && changes.Load() > changes0+10 || t.Failed() })
	}
	rotate()
	for _, step := range []struct {
		keys   string
		status int
	}{
		{secondKey, 400}, {thirdKey + " " + secondKey, 400}, {"", 400}, // which are not its keys
		{secondKey + " " + firstKey, 200}, {secondKey, 200}, {firstKey, 400}, {firstKey + " " + secondKey, 200}, {thirdKey + " " + firstKey, 200},
	} {
		store := "store bolt"
		if step.keys != "" {
			store += "\nencryption_key " + step.keys
		}
		was := d.vars[1]
		d.setStore(store)
		if a := d.load(); a.Status != step.status {
			t.Errorf("encryption_key %s: %d %s", step.keys, a.Status, a.Body)
		}
		if step.status != 200 {
			d.setStore(was)
		}
		rotate()
	}
	end()
	t.Logf("%d calls and %d changes", calls.Load(), changes.Load())
	d.kill()
	d.setStore("store bolt\nencryption_key " + firstKey + " " + secondKey)
	before := hashes(t, filepath.Dir(d.dbFile()))
	d.refused("sealed with another key")
	if after := hashes(t, filepath.Dir(d.dbFile())); after != before {
		t.Errorf("files before:\n%s\nafter:\n%s", before, after)
	}
	d.setStore("store bolt\nencryption_key " + thirdKey)
	d.start()
	d.serves(u, key)
	if a := d.ask("GET", "/rr/audit/verify", "", 200); !strings.Contains(a.Body, `"valid":true`) {
		t.Errorf("the audit log is not whole: %s", a.Body)
	}
	if _, err := os.Stat(d.keyFile()); err == nil {
		t.Error("a key file was made")
	}
	d.stop()
}
