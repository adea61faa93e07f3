package docs

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestPictureOfTheFlow reads the picture that README.md shows: well-formed, described in words,
// small, and without anything from elsewhere.
func TestPictureOfTheFlow(t *testing.T) {
	const file = "docs/flow.svg"
	text := readPage(t, file)
	if !strings.Contains(readPage(t, "README.md"), "]("+file+")") {
		t.Error("README.md does not show it")
	}
	if len(text) > 8<<10 {
		t.Errorf("it has %d bytes", len(text))
	}

	words := map[string]string{} // by element
	labels := ""
	var open []string
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("it is no XML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			switch e.Name.Local {
			case "image", "script", "foreignObject", "use":
				t.Errorf("it has a %s", e.Name.Local)
			}
			for _, a := range e.Attr {
				if a.Name.Local == "aria-labelledby" {
					labels = a.Value
				}
				if strings.Contains(a.Value, "//") && a.Name.Local != "xmlns" {
					t.Errorf("%s refers to %s", e.Name.Local, a.Value)
				}
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				words[open[len(open)-1]] += string(e)
			}
		}
	}
	if labels != "title desc" || words["title"] == "" || len(words["desc"]) < 100 {
		t.Errorf("it is not described: %q %q", words["title"], words["desc"])
	}
	if style := words["style"]; !strings.Contains(style, "prefers-color-scheme: dark") || strings.Contains(style, "@import") || strings.Contains(style, "@font-face") {
		t.Error("its style has no dark colours, or fetches something")
	}
	for _, step := range []string{"caller", "verify", "inject", "reverse_proxy", "vendor", "answer"} {
		if !strings.Contains(words["text"], step) {
			t.Errorf("it does not show %s", step)
		}
	}
}
