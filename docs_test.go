package rr_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// pages are the pages of this repository.
func pages(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md", "examples/decision-table/*/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

var (
	fence      = regexp.MustCompile("(?ms)^[ \t]*```([a-z]*)[^\n]*\n(.*?)^[ \t]*```")
	inlineCode = regexp.MustCompile("`[^`\n]*`")
	link       = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ +(.*?) *$`)
)

// TestLinksLeadSomewhere follows the links between pages, to files, folders and headings.
func TestLinksLeadSomewhere(t *testing.T) {
	texts, followed := pages(t), 0
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

// TestBlocksOfPages adapts the Caddyfiles on the pages, also those of which only a part is
// shown, and reads their JSON. Blocks that show the grammar have <…> or … in them.
func TestBlocksOfPages(t *testing.T) {
	seen := map[string]int{}
	for file, text := range pages(t) {
		for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
			language, block := text[at[2]:at[3]], text[at[4]:at[5]]
			if filepath.Base(filepath.Dir(file)) == "guest-kind" {
				continue // its kinds are in a module of their own, with tests
			}
			place := fmt.Sprintf("%s:%d", file, strings.Count(text[:at[0]], "\n")+1)
			switch language {
			case "json":
				if !json.Valid([]byte(block)) && !jsonLines(block) {
					t.Errorf("%s: this is no JSON", place)
				}
			case "caddyfile":
				if grammar.MatchString(comment.ReplaceAllString(block, "")) {
					language = "grammar"
					break
				}
				whole, err := wholeCaddyfile(block)
				if err != nil {
					t.Errorf("%s: %v", place, err)
					break
				}
				_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(whole), map[string]any{"filename": "Caddyfile"})
				if err != nil {
					t.Errorf("%s: %v", place, err)
				}
				for _, w := range warnings {
					if !strings.Contains(w.Message, "not formatted") {
						t.Errorf("%s: %v", place, w)
					}
				}
			}
			seen[language]++
		}
	}
	if seen["caddyfile"] < 35 || seen["json"] < 10 || seen["grammar"] > 6 {
		t.Errorf("found %v", seen)
	}
}

var (
	comment = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	grammar = regexp.MustCompile(`<[a-z /…-]+>|…|allow\|deny`)
	leads   = regexp.MustCompile(`(?m)^\s*rr_proxy ([\w-]+)`)
	first   = regexp.MustCompile(`\S+`)
)

// jsonLines reports whether each line is JSON.
func jsonLines(text string) bool {
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			return false
		}
	}
	return true
}

// wholeCaddyfile puts around a part of a Caddyfile what it needs to stand alone.
func wholeCaddyfile(block string) (string, error) {
	const proxy = "{\nrr {\nproxy page {\ntarget https://api.example.com\n"
	switch word := first.FindString(comment.ReplaceAllString(block, "")); word {
	case "format":
		return "{\nlog {\n" + block + "}\n}\n", nil
	case "credential", "target", "proxy":
		return "{\nrr {\n" + block + "}\n}\n", nil
	case "accept":
		return proxy + "present none\n" + block + "}\n}\n}\n", nil
	case "present":
		return proxy + "accept none\n" + block + "}\n}\n}\n", nil
	case "allow", "deny":
		return proxy + "accept none\npresent none\n" + block + "}\n}\n}\n", nil
	case "revoked", "dpop":
		return proxy + "present none\naccept jwt_verify {\nissuer https://issuer.example.com\nany_audience\n" + block + "}\n}\n}\n}\n", nil
	case "claims":
		return proxy + "accept none\npresent jwt {\nsecret {env.KEY}\n" + block + "}\n}\n}\n}\n", nil
	default:
		switch {
		case strings.HasPrefix(word, "rr_"):
			block = "gateway.example.com {\n" + block + "}\n"
		case word != "{" && !strings.ContainsAny(word, ".:*"):
			return "", fmt.Errorf("it is not known where %q stands", word)
		}
	}
	// what a page has in another block
	options := "rr {\n"
	for _, m := range leads.FindAllStringSubmatch(block, -1) {
		if !regexp.MustCompile(`(?m)^\s*proxy ` + m[1] + ` \{`).MatchString(block) {
			options += "proxy " + m[1] + " {\naccept none\ntarget https://api.example.com\npresent none\n}\n"
		}
	}
	if rest, ok := strings.CutPrefix(block, "{\n"); ok {
		return "{\n" + options + "}\n" + rest, nil
	}
	return "{\n" + options + "}\n}\n" + block, nil
}
