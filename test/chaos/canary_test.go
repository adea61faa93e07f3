package chaos

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Every secret of the run begins with one of these, so that a few searches find all of them,
// also those that are made on the way, and parts of them.
const (
	ofCaller = "Zq7cAller8" // what callers prove themselves with
	ofVendor = "Zq7vEndor8" // what upstreams accept
	ofRR     = "rr_live_"   // keys that the gateway makes
)

// secret makes a secret that begins with a mark.
func secret(mark string) string { return mark + rand.Text() }

// needles are what no output may have: the marks, plain and as base64 has them at any offset.
var needles = func() (all [][]byte) {
	for _, mark := range []string{ofCaller, ofVendor, ofRR} {
		all = append(all, []byte(mark))
		for offset := range 3 {
			encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + mark))
			// the first characters depend on what stands before, the last on what comes after
			from, to := (offset*8+5)/6, (offset+len(mark))*8/6
			all = append(all, []byte(encoded[from:to]))
		}
	}
	return append(all, []byte("PRIVATE KEY-----")) // of a private key in PEM
}()

// signed is a JWT with its signature: whoever has it may use it.
var signed = regexp.MustCompile(`eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{40,}`)

// scanner looks for secrets.
type scanner struct {
	mu    sync.Mutex
	bytes int64
	found []string
}

func (s *scanner) scan(where string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += int64(len(text))
	if at := leak(text); at >= 0 && len(s.found) < 10 {
		s.found = append(s.found, fmt.Sprintf("%s has …%.400q…", where, text[max(0, at-200):]))
	}
}

// leak is where a secret stands, -1 if none does.
func leak(text []byte) int {
	for _, n := range needles {
		if at := bytes.Index(text, n); at >= 0 {
			return at
		}
	}
	if bytes.Contains(text, []byte("eyJ")) {
		if at := signed.FindIndex(text); at != nil {
			return at[0]
		}
	}
	return -1
}

// scanFiles looks through everything below a folder but the named files.
func (s *scanner) scanFiles(folder string, but ...string) error {
	return filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		for _, b := range but {
			if b == path {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		s.scan(path, text)
		return nil
	})
}

// TestScannerFindsSecrets: the scan can fail.
func TestScannerFindsSecrets(t *testing.T) {
	token := "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwOi8v." + strings.Repeat("x", 86)
	for name, shown := range map[string]string{
		"plain":        "key=" + secret(ofCaller),
		"cut short":    "the key " + secret(ofVendor)[:12] + "…",
		"basic":        base64.StdEncoding.EncodeToString([]byte("user:" + secret(ofVendor))),
		"basic, other": base64.StdEncoding.EncodeToString([]byte("user1:" + secret(ofVendor))),
		"basic, third": base64.StdEncoding.EncodeToString([]byte("us:" + secret(ofVendor))),
		"one of rr's":  "rr_live_abcdef",
		"a JWT":        "Bearer " + token,
		"a key":        "-----BEGIN EC PRIVATE KEY-----",
	} {
		if leak([]byte("{\"a\": \""+shown+"\"}")) < 0 {
			t.Errorf("%s is not found: %s", name, shown)
		}
	}
	for _, harmless := range []string{`{"credential":"agent","reason":"no key"}`, token[:50], "rr_lives"[:7]} {
		if leak([]byte(harmless)) >= 0 {
			t.Errorf("%s is taken for a secret", harmless)
		}
	}
}
