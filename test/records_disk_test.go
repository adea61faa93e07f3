package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// smallDisk is a folder on a disk of its own, of some megabytes, for which one has to be
// root.
type smallDisk struct {
	t      *testing.T
	folder string
}

func mountDisk(t *testing.T, size string) *smallDisk {
	t.Helper()
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("not here: a disk of its own can be mounted by root on Linux only")
	}
	s := &smallDisk{t, t.TempDir()}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "mode=700,size="+size, "tmpfs", s.folder).CombinedOutput(); err != nil {
		t.Skipf("not here: no disk can be mounted: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", s.folder).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return s
}

func (s *smallDisk) remount(options string) {
	s.t.Helper()
	if out, err := exec.Command("mount", "-o", "remount,"+options, s.folder).CombinedOutput(); err != nil {
		s.t.Fatalf("mount -o remount,%s: %v: %s", options, err, out)
	}
}

// TestRecordsOnAFullDisk fills the store until there is no room: what was acknowledged is
// kept, serving goes on, and with room again all is well.
func TestRecordsOnAFullDisk(t *testing.T) {
	t.Run("a limit of the file's size", func(t *testing.T) {
		if runtime.GOOS == "windows" {
			t.Skip("not here: Windows has no such limit")
		}
		d := prepareDaemon(t, "store bolt")
		d.before = "ulimit -f 6144" // of 512 bytes
		d.start()
		f := fill(t, d)
		d.kill()
		d.start() // as full as before
		f.holds()
		f.refuses()
		d.stop()
		d.before = ""
		d.start()
		f.recovers()
	})
	t.Run("a small disk", func(t *testing.T) {
		disk := mountDisk(t, "3m")
		d := newDaemon(t, "store bolt "+filepath.Join(disk.folder, "rr.db"))
		f := fill(t, d)
		d.kill()
		d.start()
		f.holds()
		f.refuses()
		disk.remount("size=64m") // without a restart
		f.recovers()
		d.stop()
	})
}

// filled is a store that has no room.
type filled struct {
	t    *testing.T
	d    *daemon
	u    *rrtest.Upstream
	key  string
	mu   sync.Mutex
	kept map[string]map[string]any // records that were acknowledged, by name
	lost []string                  // names of those that were refused
}

// fill makes records until there is no room, large and small ones at a time.
func fill(t *testing.T, d *daemon) *filled {
	t.Helper()
	f := &filled{t: t, d: d, u: rrtest.NewUpstream(t), kept: map[string]map[string]any{}}
	f.key = d.usual(f.u)
	var wg sync.WaitGroup
	for w, size := range []int{30000, 30000, 3000, 100} {
		wg.Go(func() {
			for i, refused := 0, 0; refused < 3 && !t.Failed(); i++ {
				if !f.create(fmt.Sprintf("fill-%d-%d", w, i), size) {
					refused++
				}
				if i > 20000 {
					t.Error("there is always room")
				}
			}
		})
	}
	wg.Wait()
	for i := 0; f.create(fmt.Sprintf("last-%d", i), 1); i++ { // what the others left
	}
	t.Logf("%d records before there was no room", len(f.kept))
	f.holds()
	f.refuses()
	return f
}

// create makes a credential with a secret of a size; false says that there is no room.
func (f *filled) create(name string, size int) bool {
	body := fmt.Sprintf(`{"credentialType":"target","credentialAuthType":"custom","credentialName":%q,"credentialSecret":{"headers":{"X-Big":%q}}}`, name, strings.Repeat("s", size))
	a, err := f.d.call("POST", "credentials", body)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.t.Error(err)
	case a.Status == http.StatusCreated:
		list, err := recordsIn("credentials", a.Body)
		if err != nil {
			f.t.Error(err)
			return false
		}
		f.kept[name] = list[0]
		return true
	default:
		f.full("POST credentials", a)
		f.lost = append(f.lost, name)
	}
	return false
}

// full checks the answer to a change for which there is no room.
func (f *filled) full(what string, a rrtest.Answer) {
	f.t.Helper()
	var p struct {
		Type, Title, Code, Detail string
		Status                    int
	}
	err := json.Unmarshal([]byte(a.Body), &p)
	if a.Status != http.StatusInsufficientStorage || a.Header.Get("Content-Type") != "application/problem+json" ||
		err != nil || p.Status != a.Status || p.Code != "store-full" || p.Title == "" || p.Detail == "" {
		f.t.Errorf("%s: %d %v %s", what, a.Status, a.Header["Content-Type"], a.Body)
	}
}

// holds looks whether what was acknowledged is there, and nothing of the rest, and whether
// proxies are served.
func (f *filled) holds() {
	f.t.Helper()
	f.d.serves(f.u, f.key)
	there := map[any]bool{}
	for cursor := ""; ; {
		a := f.d.ask("GET", "credentials?limit=200&cursor="+cursor, "", http.StatusOK)
		list, err := recordsIn("credentials", a.Body)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, r := range list {
			name := r["credentialName"].(string)
			if there[name] = true; name == "agent" || name == "vendor-key" {
				continue
			}
			if was := f.kept[name]; was == nil || fmt.Sprint(was) != fmt.Sprint(r) {
				f.t.Errorf("%v was acknowledged, %v is there", was, r)
			}
		}
		var page struct{ Cursor string }
		_ = json.Unmarshal([]byte(a.Body), &page)
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	if len(there) != len(f.kept)+2 {
		f.t.Errorf("%d credentials are there, %d were acknowledged", len(there), len(f.kept)+2)
	}
	for _, name := range f.lost {
		if there[name] {
			f.t.Errorf("%s was refused, and is there", name)
		}
	}
	if a := f.d.ask("GET", "/rr/audit/verify", "", http.StatusOK); !strings.Contains(a.Body, `"valid":true`) {
		f.t.Errorf("the audit log is not whole: %s", a.Body)
	}
}

// refuses tries all that changes something while there is no room.
func (f *filled) refuses() {
	f.t.Helper()
	headers := map[string]any{}
	for i := range 12 { // all of it is more than there is
		headers[fmt.Sprintf("X-Big-%d", i)] = strings.Repeat("s", 60000)
	}
	big := map[string]any{"credentialAuthType": "custom", "credentialSecret": map[string]any{"headers": headers}}
	made := map[string]any{"credentialType": "target", "credentialName": "big"}
	if a := f.d.ask("POST", "/rr/store/rotate-key", "", 200, 507); a.Status == 507 { // it needs little at a time
		f.full("a rotation of the store's key", a)
	}
	f.full("an import", f.d.ask("POST", "/rr/store/import", asJSON(map[string]any{"credentials": []any{json.RawMessage(asJSON(big, made))}}), 507))
	f.full("a large create", f.d.ask("POST", "credentials", asJSON(big, made), 507))
	f.full("a large change", f.d.ask("PUT", "credentials/vendor-key", asJSON(big), 507))
	f.d.serves(f.u, f.key)
	if a := f.d.ask("GET", "/rr/health", "", 200); !strings.Contains(a.Body, `"status":"degraded"`) || !strings.Contains(a.Body, "full") {
		f.t.Errorf("health: %s", a.Body)
	}
	// copies can be made, to save what there is
	if a := f.d.ask("GET", "/rr/store/backup", "", 200); len(a.Body) < 100000 {
		f.t.Errorf("the backup has %d bytes", len(a.Body))
	}
	if a := f.d.ask("POST", "/rr/store/export", `{"passphrase":"correct horse battery"}`, 200); len(a.Body) < 100000 {
		f.t.Errorf("the archive has %d bytes", len(a.Body))
	}
	// small changes may or may not find a page; what is answered holds
	if a := f.d.ask("PUT", "targets/vendor", `{"targetTestPath":"/health"}`, 200, 507); a.Status == 507 {
		f.full("a small change", a)
	}
	for name := range f.kept {
		a := f.d.ask("DELETE", "credentials/"+name, "", 200, 507)
		if a.Status == 507 {
			f.full("deleting", a)
		} else {
			delete(f.kept, name)
		}
		break
	}
	f.holds()
}

// recovers looks whether all is well with room again.
func (f *filled) recovers() {
	f.t.Helper()
	f.holds()
	for i := range 3 {
		if !f.create(fmt.Sprintf("again-%d-%d", len(f.kept), i), 30000) {
			f.t.Error("there is no room")
		}
	}
	if a := f.d.ask("GET", "/rr/health", "", 200); !strings.Contains(a.Body, `"status":"ok"`) {
		f.t.Errorf("health: %s", a.Body)
	}
	f.d.ask("PUT", "targets/vendor", `{"targetTestPath":"/healthy"}`, 200)
	f.d.ask("POST", "/rr/store/rotate-key", "", 200)
	f.holds()
	f.d.kill()
	f.d.start()
	f.holds()
}
