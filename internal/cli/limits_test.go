package cli

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// spaces are a body without end that JSON allows.
type spaces struct{}

func (spaces) Read(b []byte) (int, error) { return copy(b, strings.Repeat(" ", len(b))), nil }

// TestAnswersAreBounded: an API that does not end its answer is not read for ever.
func TestAnswersAreBounded(t *testing.T) {
	x, address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(w, spaces{})
	}))
	_, stderr, err := x.run([]string{"health", "--address", address})
	if err == nil || !strings.Contains(stderr, "more than 67108864 bytes") {
		t.Errorf("got %v, %q", err, stderr)
	}
}

func TestInputIsBounded(t *testing.T) {
	for n, fault := range map[int]string{secretLimit: "", secretLimit + 1: "more than 1048576 bytes"} {
		secret, err := readSecret(strings.NewReader(strings.Repeat("s", n)), "a file")
		if fault == "" && (err != nil || len(secret) != n) || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("a secret of %d bytes: %v", n, err)
		}
	}
	if _, err := readSecret(spaces{}, "standard input"); err == nil {
		t.Error("input without end is a secret")
	}
}
