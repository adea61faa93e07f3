package rr_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	rr "github.com/caddy-rr/caddy-rr"
)

// framed puts text where an operator writes it: into the app's block, a proxy's, a handler's,
// the API's and the log's. Each has a secret of its own, which no error may tell.
var framed = []string{
	"{\n\trr {\n\t\tcredential c present bearer c4nary-of-the-frame\nTEXT\n\t}\n}\n:80 {\n\trespond ok\n}\n",
	"{\n\trr {\n\t\tproxy p {\n\t\t\taccept key c4nary-of-the-frame-0123456789\n\t\t\ttarget https://a.example\n\t\t\tpresent bearer c4nary-of-the-frame\nTEXT\n\t\t}\n\t}\n}\n:80 {\n\trr_proxy p\n}\n",
	"{\n\trr {\n\t\tproxy p {\n\t\t\taccept jwt_verify {\n\t\t\t\tsecret c4nary-of-the-frame-0123456789abcdef\nTEXT\n\t\t\t}\n\t\t\ttarget https://a.example\n\t\t\tpresent none\n\t\t}\n\t}\n}\n",
	"{\n\trr {\n\t\tcredential c present oauth2 {\n\t\t\tclient_secret c4nary-of-the-frame\nTEXT\n\t\t}\n\t}\n}\n",
	":80 {\n\trr_verify {\n\t\taccept key c4nary-of-the-frame-0123456789\nTEXT\n\t}\n\trr_inject {\n\t\tpresent bearer c4nary-of-the-frame\nTEXT\n\t}\n\treverse_proxy a.example\n}\n",
	":80 {\n\trr_gateway /g/* {\nTEXT\n\t}\n\trr_api /m/* {\nTEXT\n\t}\n\tlog {\n\t\tformat rr {\nTEXT\n\t\t}\n\t}\n}\n",
	"TEXT",
}

// located is how Caddy and this plugin say where a fault is.
var located = regexp.MustCompile(`Caddyfile:[0-9]+`)

// FuzzCaddyfile adapts whatever somebody writes into the blocks of this plugin. It ends with
// an error that says where, or with JSON that the app reads; both are the same each time, and
// no error tells a secret of another line.
func FuzzCaddyfile(f *testing.F) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) < 50 {
		f.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		whole, _, _ := strings.Cut(string(text), "----------\n")
		f.Add(len(framed)-1, whole)
		for i := range framed[:len(framed)-1] {
			for line := range strings.Lines(whole) { // lines alone are what people forget things in
				if line = strings.TrimSpace(line); len(line) > 3 && len(file)%len(framed) == i {
					f.Add(i, line)
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, frame int, text string) {
		if frame < 0 || frame >= len(framed) || len(text) > 4<<10 || strings.Contains(text, "import") || strings.Contains(text, "{$") {
			return // import and {$NAME} read files and the environment, which are not this target's
		}
		whole := strings.ReplaceAll(framed[frame], "TEXT", text)
		adapted, err := adaptBytes(whole)
		again, err2 := adaptBytes(whole)
		if (err == nil) != (err2 == nil) || !bytes.Equal(adapted, again) {
			t.Fatalf("adapted twice it differs:\n%s %v\n%s %v", adapted, err, again, err2)
		}
		if err != nil {
			if strings.Contains(err.Error(), "c4nary") && !strings.Contains(text, "c4nary") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if !located.MatchString(err.Error()) && ofPlugin(err.Error()) {
				t.Errorf("the error does not say where: %v", err)
			}
			return
		}
		var config struct {
			Apps map[string]json.RawMessage `json:"apps"`
		}
		if err := json.Unmarshal(adapted, &config); err != nil {
			t.Fatalf("%v: %s", err, adapted)
		}
		if raw := config.Apps["rr"]; raw != nil {
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(new(rr.App)); err != nil {
				t.Errorf("the app does not read it: %v\n%s", err, raw)
			}
		}
	})
}

// ofPlugin reports whether an error comes of this plugin's directives, whose faults have a line.
func ofPlugin(text string) bool {
	return strings.Contains(text, "rr") && strings.Contains(text, "parsing caddyfile tokens")
}

func adaptBytes(text string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	return adapted, err
}
