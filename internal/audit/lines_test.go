package audit_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-rr/caddy-rr/internal/audit"
)

func export(t testing.TB, entries []audit.Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	if count, err := audit.WriteLines(&b, seq(entries)); err != nil || count != len(entries) {
		t.Fatalf("%d lines, then %v", count, err)
	}
	return b.Bytes()
}

func TestLines(t *testing.T) {
	entries, head := log(5)
	text := export(t, entries)
	if n := bytes.Count(text, []byte("\n")); n != 5 {
		t.Errorf("%d lines", n)
	}
	if count, err := audit.VerifyTo(audit.ReadLines(bytes.NewReader(text)), head); count != 5 || err != nil {
		t.Errorf("%d entries, then %v", count, err)
	}
	if count, err := audit.VerifyTo(audit.ReadLines(strings.NewReader("")), audit.Head{}); count != 0 || err != nil {
		t.Errorf("of nothing: %d entries, then %v", count, err)
	}
}

func TestLinesThatWereChanged(t *testing.T) {
	entries, head := log(3)
	text := string(export(t, entries))
	lines := strings.SplitAfter(text, "\n")
	for _, c := range []struct{ name, text, err string }{
		{"an edit", strings.Replace(text, `"update"`, `"create"`, 1), "entry 1: it was edited"},
		{"a member more", strings.Replace(text, `{"action"`, `{"x":1,"action"`, 1), "line 1: it is not written as entries are"},
		{"a member twice", strings.Replace(text, `"resource":"credentials"`, `"resource":"targets","resource":"credentials"`, 1), "line 1: it is not written as entries are"},
		{"another case of a name", strings.Replace(text, `"action":`, `"Action":`, 1), "line 1: it is not written as entries are"},
		{"spaces", strings.Replace(text, `":`, `": `, 1), "line 1: it is not written as entries are"},
		{"an empty line", "\n" + text, "line 1: it is not an entry"},
		{"another type", strings.Replace(text, `"seq":1`, `"seq":"1"`, 1), "line 1: it is not an entry"},
		{"half a line", text[:len(text)-40], "line 3: it is not an entry"},
		{"a line less", lines[0] + lines[2], "entry 2: entry 3 is in its place"},
		{"no last line", lines[0] + lines[1], "entry 3: it is missing"},
		{"a long line", strings.Repeat("x", 2<<20), "line 1 is too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.text == text {
				t.Fatal("the text was not changed")
			}
			_, err := audit.VerifyTo(audit.ReadLines(strings.NewReader(c.text)), head)
			if !errors.Is(err, audit.ErrBroken) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("the error is %v, want %q", err, c.err)
			}
		})
	}
}

type failing struct{}

var errFailing = errors.New("no room")

func (failing) Write([]byte) (int, error) { return 0, errFailing }
func (failing) Read([]byte) (int, error)  { return 0, errFailing }

func TestLinesPassErrorsOn(t *testing.T) {
	entries, _ := log(50)
	if _, err := audit.WriteLines(failing{}, seq(entries)); !errors.Is(err, errFailing) {
		t.Errorf("writing: %v", err)
	}
	if _, err := audit.WriteLines(failing{}, seq(entries[:1])); !errors.Is(err, errFailing) {
		t.Errorf("writing little: %v", err)
	}
	if _, err := audit.Verify(audit.ReadLines(failing{})); !errors.Is(err, errFailing) || errors.Is(err, audit.ErrBroken) {
		t.Errorf("reading: %v", err)
	}
	_, err := audit.WriteLines(new(bytes.Buffer), func(yield func(audit.Entry, error) bool) { yield(audit.Entry{}, errFailing) })
	if !errors.Is(err, errFailing) {
		t.Errorf("of entries: %v", err)
	}
}

// TestHashWithoutThisCode does what docs/audit.md tells a reader to do.
func TestHashWithoutThisCode(t *testing.T) {
	entries, _ := log(1)
	line := export(t, entries)
	hash := regexp.MustCompile(`"hash":"([0-9a-f]{64})",`).FindSubmatch(line)
	if hash == nil {
		t.Fatalf("no hash in %s", line)
	}
	sum := sha256.Sum256(bytes.TrimSuffix(bytes.Replace(line, hash[0], nil, 1), []byte("\n")))
	if hex.EncodeToString(sum[:]) != string(hash[1]) {
		t.Error("the hash is not that of the line without it")
	}
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip("jq is not installed, which `make deps` does; with RR_REQUIRE_EXTERNAL=1 this skip fails the run")
	}
	entries[0].Name = "plain" // jq escapes U+007F, RFC 8785 does not
	entries[0].Seal("")
	command := exec.Command(jq, "-cS", "-j", "del(.hash)")
	command.Stdin = bytes.NewReader(export(t, entries))
	out, err := command.Output()
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != entries[0].Hash {
		t.Errorf("jq makes %s", out)
	}
}

func FuzzReadLines(f *testing.F) {
	entries, _ := log(3)
	f.Add(export(f, entries))
	f.Add([]byte(`{"action":"","actor":{"kind":""},"hash":"","resource":"","seq":0,"time":"0001-01-01T00:00:00Z"}`))
	f.Add([]byte(`{"seq":1e3}` + "\n{}\n"))
	f.Add([]byte("{\"fields\":[\"\\ud800\",null,\"\u2028\"]}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var read []audit.Entry
		for e, err := range audit.ReadLines(bytes.NewReader(text)) {
			if err != nil {
				return
			}
			read = append(read, e)
		}
		// What was read is written as it was, and lives through encoding/json.
		again := export(t, read)
		lines := func(b []byte) string { return strings.TrimSuffix(strings.ReplaceAll(string(b), "\r", ""), "\n") }
		if lines(again) != lines(text) {
			t.Fatalf("%q is written as %q", text, again)
		}
		for _, e := range read {
			e.Seal(e.Previous)
			stored, err := json.Marshal(e)
			if err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			var decoded audit.Entry
			if err := json.Unmarshal(stored, &decoded); err != nil {
				t.Fatal(err)
			}
			if decoded.Seal(e.Previous); decoded.Hash != e.Hash {
				t.Fatalf("%s hashes differently", stored)
			}
		}
	})
}
