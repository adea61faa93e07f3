package test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// load gives the process its configuration anew, as `caddy reload` does.
func (d *daemon) load() rrtest.Answer {
	d.t.Helper()
	d.writeConfig()
	text, err := os.ReadFile(filepath.Join(d.dir, "Caddyfile"))
	if err != nil {
		d.t.Fatal(err)
	}
	a, err := persistent(func() (rrtest.Answer, error) {
		return d.send("POST", d.admin+"/load", string(text), "Content-Type: text/caddyfile", "Cache-Control: must-revalidate")
	})
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

// TestKeysOfAConfigurationThatFails: a configuration that does not get into force has not
// changed the store's key, so that the one before can be loaded and started again.
func TestKeysOfAConfigurationThatFails(t *testing.T) {
	u := rrtest.NewUpstream(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	d := newDaemon(t, "store bolt")
	key := d.usual(u)
	fileKey, err := os.ReadFile(d.keyFile())
	if err != nil {
		t.Fatal(err)
	}
	file := strings.TrimSpace(string(fileKey))
	for _, step := range []struct{ now, next string }{
		{"", "encryption_key " + secondKey + " " + file},
		{"", "encryption_key " + file},
		{"encryption_key " + firstKey + " " + file, "encryption_key " + secondKey + " " + firstKey},
		{"encryption_key " + firstKey, "encryption_key " + secondKey + " " + firstKey},
		{"encryption_key " + firstKey, "encryption_key " + firstKey + " " + secondKey},
		{"encryption_key " + firstKey, "encryption_key " + secondKey}, // which is refused for its key
		{"encryption_key " + file + " " + firstKey, "encryption_key " + secondKey + " " + file},
		{"", "encryption_key " + secondKey + " " + file},
	} {
		d.setStore("store bolt\n" + step.now)
		if a := d.load(); a.Status != 200 {
			t.Fatalf("%q: %d %s", step.now, a.Status, a.Body)
		}
		for range 3 { // Caddy starts its apps in any order
			d.setStore("store bolt\n" + step.next)
			d.vars = append(d.vars, "rr_gateway /api/*\n}\n", "rr_gateway /api/*\n}\n:"+port+" {\nrespond taken\n}\n")
			if a := d.load(); a.Status == 200 || !strings.Contains(a.Body, "address already in use") && !strings.Contains(a.Body, "sealed with another key") {
				t.Errorf("%q: %d %s", step.next, a.Status, a.Body)
			}
			d.vars = d.vars[:2]
			d.setStore("store bolt\n" + step.now)
			if a := d.load(); a.Status != 200 {
				t.Errorf("%q: %d %s", step.now, a.Status, a.Body)
			}
		}
		d.ask("PUT", "proxies/p", `{"proxyActive":true}`, 200)
		d.serves(u, key)
		d.kill()
		d.start()
		d.serves(u, key)
	}
	d.stop()
}
