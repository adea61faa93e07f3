package redact

import (
	"net/url"
	"strings"
	"testing"
)

// TestLayersOfEncodingAreBounded: a credential within so many layers that nobody looks
// through them is hidden with all that is around it.
func TestLayersOfEncodingAreBounded(t *testing.T) {
	text := "https://a.example/?access_token=c4nary"
	for layer := range 3 * maxNesting {
		text = "https://a.example/?next=" + url.QueryEscape(text)
		for _, shown := range []string{New().URI(text), New().Text("GET " + text)} {
			if strings.Contains(shown, "c4nary") {
				t.Errorf("%d layers: %s", layer, shown)
			}
		}
	}
}
