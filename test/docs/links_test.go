package docs

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

var (
	fence      = regexp.MustCompile("(?ms)^[ \t]*```([a-z]*)[^\n]*\n(.*?)^[ \t]*```")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	link       = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
)

// TestLinksLeadSomewhere follows the links between pages, to files, folders and headings.
func TestLinksLeadSomewhere(t *testing.T) {
	texts, followed := rrtest.Pages(t, "."), 0
	for file, text := range texts {
		text = inlineCode.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s: %v", file, m[1], err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			followed++
			to := file
			if u.Path != "" {
				to = filepath.Join(filepath.Dir(file), u.Path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: there is no %s", file, m[1])
			} else if u.Fragment != "" && !anchors(texts[to])[u.Fragment] {
				t.Errorf("%s: there is no heading for %s", file, m[1])
			}
		}
	}
	if followed < 100 {
		t.Errorf("only %d links found", followed)
	}
}

// anchors are the names that GitHub gives the headings of a page.
func anchors(text string) map[string]bool {
	names, count := map[string]bool{}, map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1])
		if n := count[name]; n > 0 {
			names[fmt.Sprint(name, "-", n)] = true
		}
		count[name]++
		names[name] = true
	}
	return names
}
