package docs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/caddy-rr/caddy-rr/inject"
	"github.com/caddy-rr/caddy-rr/internal/audit"
	"github.com/caddy-rr/caddy-rr/internal/rrtest"
)

// TestBlocksOfPages checks each block of code on each page by what its fence says that it
// is: Caddyfiles and JSON are loaded as `caddy validate` loads them, Go is found in a package
// that tests compile. Shell is run by test/pages_test.go. What nobody checks is an error.
func TestBlocksOfPages(t *testing.T) {
	seen := map[string]int{}
	for file, page := range rrtest.Pages(t, ".") {
		for _, b := range rrtest.Blocks(file, page) {
			kind := strings.TrimSpace(b.Language + " " + b.What)
			check, ok := blockChecks[kind]
			switch {
			case !ok:
				t.Errorf("%s:%d: nothing checks blocks that are marked %q", b.File, b.Line, kind)
				continue
			case file == "docs/api.md" && b.Language == "json":
				kind = "api" // internal/api compares these with what it answers
			default:
				t.Run(fmt.Sprintf("%s:%d", strings.ReplaceAll(b.File, "/", "."), b.Line), func(t *testing.T) {
					if err := check(t, b); err != nil {
						t.Errorf("%s:%d: %v", b.File, b.Line, err)
					}
				})
			}
			seen[kind]++
		}
	}
	for kind, least := range map[string]int{"caddyfile": 38, "json config": 1, "json verifier": 3, "json injector": 5, "go": 8, "sh": 80, "api": 30} {
		if seen[kind] < least {
			t.Errorf("only %d blocks of %s: %v", seen[kind], kind, seen)
		}
	}
	if seen["caddyfile grammar"] > 7 {
		t.Errorf("%d Caddyfiles only show the grammar", seen["caddyfile grammar"])
	}
}

// blockChecks are the kinds of blocks, and what checks them.
var blockChecks = map[string]func(*testing.T, rrtest.Block) error{
	"caddyfile":         validCaddyfile,
	"caddyfile guest":   func(*testing.T, rrtest.Block) error { return nil }, // run by examples/guest-kind/page_test.go
	"caddyfile grammar": grammar,
	"json": func(_ *testing.T, b rrtest.Block) error {
		if b.File == "docs/api.md" {
			return nil
		}
		return fmt.Errorf("say what this JSON is, as in ```json config")
	},
	"json config": func(t *testing.T, b rrtest.Block) error { return rrtest.ValidateJSON(t, sandbox(t, b.Text)) },
	"json verifier": func(t *testing.T, b rrtest.Block) error {
		return rrtest.ValidateJSON(t, sandbox(t, `{"apps":{"rr":{"proxies":{"p":{"accept":[`+b.Text+`],"target":"https://api.example.com","present":{"kind":"none"}}}}}}`))
	},
	"json injector": func(t *testing.T, b rrtest.Block) error {
		return rrtest.ValidateJSON(t, sandbox(t, `{"apps":{"rr":{"proxies":{"p":{"accept":[{"kind":"none"}],"target":"https://api.example.com","present":`+b.Text+`}}}}}`))
	},
	"json encoder": func(t *testing.T, b rrtest.Block) error {
		return rrtest.ValidateJSON(t, `{"logging":{"logs":{"default":{"encoder":`+b.Text+`}}}}`)
	},
	"json guest":   func(_ *testing.T, b rrtest.Block) error { return guestKind(b) },
	"json problem": func(t *testing.T, b rrtest.Block) error { return problem(t, b) },
	"json log":     logEntry,
	"json audit":   func(_ *testing.T, b rrtest.Block) error { return strictly(b.Text, new(audit.Entry)) },
	"json tokens": func(_ *testing.T, b rrtest.Block) error {
		return strictly(b.Text, &struct{ Tokens []inject.TokenState }{})
	},
	"json metadata": metadata,
	"json rule":     func(*testing.T, rrtest.Block) error { return nil }, // sent by test/pages_test.go
	"json body":     func(*testing.T, rrtest.Block) error { return nil }, // the same
	"json secrets":  func(*testing.T, rrtest.Block) error { return nil }, // the same
	"sh":            func(*testing.T, rrtest.Block) error { return nil }, // run by test/pages_test.go
	"console":       func(*testing.T, rrtest.Block) error { return nil }, // the same
	"go":            goCode,
	"yaml":          func(_ *testing.T, b rrtest.Block) error { return yaml.Unmarshal([]byte(b.Text), new(any)) },
	"promql":        promQL,
	"text":          func(*testing.T, rrtest.Block) error { return nil }, // a drawing, or what a program prints
}

// validCaddyfile loads a Caddyfile, or what there is of it, and discards it.
func validCaddyfile(t *testing.T, b rrtest.Block) error {
	whole, err := wholeCaddyfile(b.Text)
	if err != nil {
		return err
	}
	_, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(whole), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if !strings.Contains(w.Message, "not formatted") {
			return fmt.Errorf("warning: %v", w)
		}
	}
	return rrtest.Validate(t, sandbox(t, whole))
}

var (
	comment = regexp.MustCompile(`(?m)(^|\s)#.*$`)
	leads   = regexp.MustCompile(`(?m)^\s*rr_(?:proxy|metadata) ([\w-]+)`)
	first   = regexp.MustCompile(`\S+`)
	signs   = regexp.MustCompile(`<[a-z /…-]+>|…|allow\|deny`)
)

// grammar checks a block which shows the grammar: it could not be a Caddyfile, and its
// options are those that parsers know.
func grammar(t *testing.T, b rrtest.Block) error {
	text := comment.ReplaceAllString(b.Text, "")
	if !signs.MatchString(text) {
		return fmt.Errorf("this is a Caddyfile, not grammar")
	}
	words := literals(t)
	for line := range strings.Lines(text) {
		for word := range strings.SplitSeq(first.FindString(line), "|") {
			if optionWord.MatchString(word) && !slices.Contains(words, word) && word != "dial_timeout" && word != "tls_trust_pool" {
				return fmt.Errorf("no parser knows %s", word)
			}
		}
	}
	return nil
}

// wholeCaddyfile puts around a part of a Caddyfile what it needs to stand alone.
func wholeCaddyfile(block string) (string, error) {
	const proxy = "{\nrr {\nproxy page {\ntarget https://api.example.com\n"
	switch word := first.FindString(comment.ReplaceAllString(block, "")); word {
	case "format":
		return "{\nlog {\n" + block + "}\n}\n", nil
	case "credential", "target", "proxy", "encryption_key", "store":
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

// strictly decodes JSON into x, which has to have all of its members.
func strictly(text string, x any) error {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(x)
}

// problem checks an answer of the gateway to a caller.
func problem(t *testing.T, b rrtest.Block) error {
	var p struct {
		Type, Title, Code string
		Status            int
	}
	if err := strictly(b.Text, &p); err != nil {
		return err
	}
	if _, refusals := refusalsInSource(t); !refusals[fmt.Sprint(p.Status, " ", p.Code)] {
		return fmt.Errorf("there is no refusal %d %s", p.Status, p.Code)
	}
	return nil
}

// logEntry checks that the members of an entry are documented.
func logEntry(t *testing.T, b rrtest.Block) error {
	known := map[string]bool{"level": true, "logger": true, "msg": true, "ts": true}
	for line := range strings.Lines(section(t, "docs/observability.md", "## Log fields")) {
		if cells := tableCells(line); len(cells) == 3 {
			for _, name := range spans(cells[0]) {
				known[name] = true
			}
		}
	}
	var entry map[string]any
	if err := json.Unmarshal([]byte(b.Text), &entry); err != nil {
		return err
	}
	for name := range entry {
		if !known[name] {
			return fmt.Errorf("no entry has %s", name)
		}
	}
	return nil
}

// metadata compares a resource's metadata (RFC 9728) with what the gateway answers.
func metadata(t *testing.T, b rrtest.Block) error {
	port := rrtest.FreePort(t)
	rrtest.Start(t, fmt.Sprintf(`{
		rr {
			proxy p {
				resource https://gateway.example.com
				accept jwt_verify {
					issuer https://tenant.eu.auth0.com/
					jwks `+"`%s`"+`
					any_audience
					scope read
				}
				target https://api.example.com
				present none
			}
		}
	}
	http://127.0.0.1:%d {
		rr_proxy p
	}`, newMaterial(t).jwks, port))
	answer := rrtest.Do(t, "GET", fmt.Sprintf("http://127.0.0.1:%d/.well-known/oauth-protected-resource", port), "")
	var is, shown any
	if err := json.Unmarshal([]byte(answer.Body), &is); err != nil {
		return fmt.Errorf("%v: %s", err, answer.Body)
	}
	if err := json.Unmarshal([]byte(b.Text), &shown); err != nil {
		return err
	}
	if x, y := fmt.Sprint(is), fmt.Sprint(shown); x != y {
		return fmt.Errorf("the gateway answers %s", answer.Body)
	}
	return nil
}

// promQL checks that the series of an expression are there.
func promQL(t *testing.T, b rrtest.Block) error {
	known := section(t, "docs/observability.md", "## Metrics")
	names := regexp.MustCompile(`caddy_\w+`).FindAllString(b.Text, -1)
	for _, name := range names {
		if !strings.Contains(known, "| `"+name+"` |") {
			return fmt.Errorf("there is no series %s", name)
		}
	}
	if len(names) == 0 || strings.Count(b.Text, "(") != strings.Count(b.Text, ")") || strings.Count(b.Text, "{") != strings.Count(b.Text, "}") {
		return fmt.Errorf("this is no expression about series")
	}
	return nil
}
