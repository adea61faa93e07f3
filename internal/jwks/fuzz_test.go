package jwks

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// FuzzDiscovery holds of every discovery document that its keys are taken only if it is the
// issuer's own, byte for byte, and from an address that may be asked.
func FuzzDiscovery(f *testing.F) {
	for _, doc := range []string{
		configuration(issuerURL, keysURL), configuration(issuerURL+"/", keysURL), configuration(issuerURL, "http://issuer.example/keys"),
		configuration(issuerURL, "file:///etc/passwd"), configuration(issuerURL, "https://user@issuer.example/keys"), configuration(issuerURL, ""),
		`{"issuer":["` + issuerURL + `"],"jwks_uri":"` + keysURL + `"}`, `{"issuer":"` + issuerURL + `","issuer":"x","jwks_uri":"` + keysURL + `"}`,
		`{"issuer":"` + issuerURL + `","jwks_uri":7}`, `[]`, `null`, `{`, "\xff", `{"ISSUER":"` + issuerURL + `","jwks_uri":"` + keysURL + `"}`,
	} {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		uri, err := readDiscovery(data, issuerURL)
		if err != nil {
			if uri != "" {
				t.Errorf("%q with %v", uri, err)
			}
			return
		}
		if _, err := fetch.CheckURL(uri); err != nil {
			t.Errorf("%q is taken: %v", uri, err)
		}
		var plain map[string]any
		if json.Unmarshal(data, &plain) != nil || plain["issuer"] != issuerURL || plain["jwks_uri"] != uri {
			t.Errorf("%q is not what %q says", uri, data)
		}
	})
}

// FuzzLifetime holds that no answer's head makes keys good for longer than it says, or for
// a time that is no time; and that the schedule keeps its bounds whatever it says.
func FuzzLifetime(f *testing.F) {
	for _, h := range [][4]string{
		{"max-age=300", "", "", ""}, {"max-age=300", "100", "", ""}, {"max-age=300", "400", "", ""}, {"no-store, max-age=300", "", "", ""},
		{"public,MAX-AGE=\"60\"", "", "", ""}, {"max-age=99999999999999999999", "", "", ""}, {"max-age=-1", "", "", ""}, {"max-age=1,max-age=2", "", "", ""},
		{"", "", "Fri, 27 Nov 2026 02:00:00 GMT", "Fri, 27 Nov 2026 01:00:00 GMT"}, {"", "7", "0", ""}, {"", "", "", ""}, {"max-age", "x", "y", "z"},
	} {
		f.Add(h[0], h[1], h[2], h[3])
	}
	now := time.Date(2026, 11, 27, 1, 30, 0, 0, time.UTC)
	s := &Source{cfg: Config{}.withDefaults()}
	f.Fuzz(func(t *testing.T, cacheControl, age, expires, date string) {
		h := http.Header{}
		for name, value := range map[string]string{"Cache-Control": cacheControl, "Age": age, "Expires": expires, "Date": date} {
			if value != "" {
				h.Set(name, value)
			}
		}
		d := lifetime(h, now)
		if d < 0 && d != -1 {
			t.Errorf("%q: %v", h, d)
		}
		if low := strings.ToLower(cacheControl); d > 0 && !strings.Contains(low, "max-age") && expires == "" {
			t.Errorf("%q: %v out of nothing", h, d)
		}
		if wait := s.interval(d); wait < s.cfg.RefreshMin || wait > s.cfg.RefreshMax {
			t.Errorf("%q: fetched again in %v", h, wait)
		}
	})
}

// FuzzStoredKeys holds of whatever is in the storage that keys are taken only from a record
// of this issuer that is not too old, and never by another way than from a fetch.
func FuzzStoredKeys(f *testing.F) {
	s := &Source{cfg: Config{URL: keysURL}.withDefaults()}
	text := func(r record) []byte {
		b, err := json.Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	good := record{Version: recordVersion, URL: keysURL, FetchedAt: time.Now(), JWKS: json.RawMessage(keySet("a"))}
	f.Add(text(good))
	for _, change := range []func(*record){
		func(r *record) { r.Version = 2 }, func(r *record) { r.URL = "https://other.example/keys" }, func(r *record) { r.Issuer = issuerURL },
		func(r *record) { r.Variant = "x" }, func(r *record) { r.FetchedAt = time.Now().Add(-48 * time.Hour) }, func(r *record) { r.FetchedAt = time.Now().Add(time.Hour) },
		func(r *record) { r.JWKS = json.RawMessage(`{"keys":[]}`) }, func(r *record) { r.JWKS = nil },
	} {
		r := good
		change(&r)
		f.Add(text(r))
	}
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, set, err := s.readRecord(data)
		if err != nil {
			return
		}
		if r.URL != keysURL || r.Issuer != "" || r.Variant != "" || len(set.Keys()) == 0 || len(set.Keys()) > jose.MaxSetKeys {
			t.Errorf("%q is taken", data)
		}
		if age := time.Since(r.FetchedAt); age > s.cfg.MaxStale+time.Minute || age < -2*maxAhead {
			t.Errorf("keys of %v are taken", r.FetchedAt)
		}
		again, _, err := jose.ParseSet(r.JWKS)
		if err != nil || again.Generation != set.Generation {
			t.Errorf("read again they are others: %v", err)
		}
	})
}
