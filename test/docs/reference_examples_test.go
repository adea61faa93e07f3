package docs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// setting is where the options of a table stand: a Caddyfile around them, and the object
// that they become.
type setting struct {
	// around has LINES in the place of the lines.
	around string
	// base are lines that are needed too, but for those of which an example has its own.
	base []string
	// object is the path of the object in the adapted configuration, or "handler X" for
	// the handlers of that name.
	object string
	// outside says that the lines are not in the block of the table's own options.
	outside bool
}

const (
	ofProxy  = "apps.rr.proxies.p"
	lines    = "LINES"
	declared = "rr {\nproxy stripe {\naccept none\ntarget https://api.example.com\npresent none\n}\n}\n"
)

func inRR(block string) string { return "{\nrr {\n" + block + "\n}\n}\n" }
func inProxy(block string) string {
	return inRR("proxy p {\ntarget https://api.example.com\n" + block + "\n}")
}
func inSite(block string) string {
	return "{\n" + declared + "}\ngateway.example.com {\n@api path /api/*\n" + block + "\n}\n"
}

func mintingFor(body string) string {
	return inProxy("accept none\npresent custom_token {\nurl https://i.example.com/\ntoken $.t\nbody " + body + "\njwt j {\n" + lines + "\n}\n}")
}

// kindSettings are those of a kind, with the lines that it cannot do without; the lines may
// be options or the kind's own line.
func kindSettings(verb, kind string, bases ...[]string) []setting {
	object, other := ofProxy+".accept[]", "present none\n"
	if verb == "present" {
		object, other = ofProxy+".present", "accept none\n"
	}
	list := []setting{{around: inProxy(other + lines), object: object, outside: true}}
	if len(bases) == 0 {
		bases = [][]string{nil}
	}
	for _, base := range bases {
		list = append(list, setting{around: inProxy(other + verb + " " + kind + " {\n" + lines + "\n}"), base: base, object: object})
	}
	return list
}

// settings are where the tables' options stand, by table. An example has to fit one.
var settings = map[string][]setting{
	"rr.App": {{around: inRR(lines), object: "apps.rr"}},
	"rr.Credential": {
		{around: inRR("credential c present bearer {env.X} {\n" + lines + "\n}"), object: "apps.rr.credentials.c"},
		{around: inRR("credential c accept bearer {env.X} {\n" + lines + "\n}"), object: "apps.rr.credentials.c"},
		{around: inRR(lines), object: "apps.rr.credentials.<name>", outside: true},
	},
	"inject.TargetSpec": {
		{around: inRR("target t https://api.example.com {\n" + lines + "\n}"), object: "apps.rr.targets.t"},
		{around: inRR(lines), object: "apps.rr.targets.<name>", outside: true},
	},
	"rr.Proxy":   {{around: inRR("proxy p {\n" + lines + "\n}"), base: []string{"accept none", "target https://api.example.com", "present none"}, object: ofProxy}},
	"rule.Rule":  {{around: inProxy("accept none\npresent none\n" + lines), object: ofProxy + ".rules[]", outside: true}},
	"rule.Check": {{around: inProxy("accept none\npresent none\nallow {\n" + lines + "\n}"), object: ofProxy + ".rules[].headers[]", outside: true}},
	"verify.Handler": {
		{around: inSite("rr_verify {\n" + lines + "\n}"), base: []string{"accept none"}, object: "handler rr_verify"},
		{around: inSite(lines), object: "handler rr_verify", outside: true},
	},
	"inject.Handler": {
		{around: inSite("rr_inject {\n" + lines + "\n}"), base: []string{"present none"}, object: "handler rr_inject"},
		{around: inSite(lines), object: "handler rr_inject", outside: true},
	},
	"rr.APIHandler":   {{around: inSite("rr_api {\n" + lines + "\n}"), base: []string{"owner user root"}, object: "handler rr_api"}},
	"verify.Metadata": {{around: inSite(lines), object: "handler rr_metadata", outside: true}},
	"logsafe.LogEncoder": {
		{around: "{\nlog {\n" + lines + "\n}\n}\n", object: "logging.logs.default.encoder", outside: true},
		{around: "{\nlog {\nformat rr {\n" + lines + "\n}\n}\n}\n", object: "logging.logs.default.encoder"},
	},
	"bolt.Bolt": {
		{around: inRR(lines), object: "apps.rr.store", outside: true},
		{around: inRR("store bolt {\n" + lines + "\n}"), object: "apps.rr.store"},
	},
	"verify.Key":        kindSettings("accept", "key {env.X}"),
	"verify.Bearer":     kindSettings("accept", "bearer {env.X}"),
	"verify.Basic":      kindSettings("accept", "basic svc {env.X}"),
	"verify.JWT":        kindSettings("accept", "jwt {env.X}"),
	"verify.None":       kindSettings("accept", "none"),
	"verify.MTLS":       kindSettings("accept", "mtls"),
	"verify.JWTVerify":  kindSettings("accept", "jwt_verify", []string{"issuer https://i.example.com/", "any_audience"}, []string{"issuer https://i.example.com/"}, []string{"any_audience"}),
	"verify.Introspect": kindSettings("accept", "introspect", []string{"url https://i.example.com/", "client_id a", "client_secret {env.X}"}, []string{"url https://i.example.com/", "client_id a"}),
	"verify.Carrier":    {{around: inProxy("present none\naccept key {env.X} {\n" + lines + "\n}"), object: ofProxy + ".accept[].from[]", outside: true}},
	"inject.Key":        kindSettings("present", "key {env.X}"),
	"inject.Bearer":     kindSettings("present", "bearer {env.X}"),
	"inject.Basic":      kindSettings("present", "basic svc {env.X}"),
	"inject.Custom":     kindSettings("present", "custom"),
	"inject.None":       kindSettings("present", "none"),
	"inject.JWT":        kindSettings("present", "jwt", []string{"secret {env.X}"}, []string{"private_key {env.X}"}, nil),
	"inject.OAuth2": kindSettings("present", "oauth2",
		[]string{"grant client_credentials", "token_url https://i.example.com/token", "client_id a", "client_secret {env.X}"},
		[]string{"grant client_credentials", "token_url https://i.example.com/token", "client_id a"},
		[]string{"grant client_credentials", "client_id a", "client_secret {env.X}"}, nil),
	"inject.CustomToken": kindSettings("present", "custom_token",
		[]string{"url https://i.example.com/login", "token $.t", "secret password {env.X}", "body p={secret.password}"},
		[]string{"url https://i.example.com/login", "token $.t", "secret password {env.X}"},
		[]string{"url https://i.example.com/login", "token $.t"}),
	"inject.SigV4":         kindSettings("present", "sigv4", []string{"access_key_id a", "secret_access_key {env.X}", "region r", "service s"}),
	"inject.HTTPSignature": kindSettings("present", "http_signature", []string{"private_key {env.X}"}, nil),
	"inject.Minting": {
		{around: mintingFor("t={jwt.j}"), base: []string{"secret {env.X}", "claims_json `{}`"}, object: ofProxy + ".present.jwts.j"},
		{around: mintingFor("t={jwt.j}"), base: []string{"claims_json `{}`"}, object: ofProxy + ".present.jwts.j"},
		{around: mintingFor("t={jwt.j}"), base: []string{"private_key {env.X}", "claims_json `{}`"}, object: ofProxy + ".present.jwts.j"},
	},
	"inject.Placement": {{around: inProxy("accept none\npresent jwt {\nsecret {env.X}\n" + lines + "\n}"), object: ofProxy + ".present.to", outside: true}},
}

// adapt is the configuration that the lines become in this setting.
func (s setting) adapt(example []string) (any, error) {
	words := map[string]bool{}
	for _, line := range example {
		word, _, _ := strings.Cut(line, " ")
		words[word] = true
	}
	all := slices.DeleteFunc(slices.Clone(s.base), func(line string) bool {
		word, _, _ := strings.Cut(line, " ")
		return words[word]
	})
	return adaptAny(strings.Replace(s.around, lines, strings.Join(append(all, example...), "\n"), 1))
}

func adaptAny(caddyfile string) (config any, err error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return nil, err
	}
	return config, json.Unmarshal(adapted, &config)
}

// objects are the objects of the setting in a configuration.
func (s setting) objects(config any) []any {
	if handler, ok := strings.CutPrefix(s.object, "handler "); ok {
		return handlers(config, handler)
	}
	return reach(config, s.object)
}

func handlers(v any, name string) (found []any) {
	switch v := v.(type) {
	case map[string]any:
		if v["handler"] == name {
			found = append(found, v)
		}
		for _, w := range v {
			found = append(found, handlers(w, name)...)
		}
	case []any:
		for _, w := range v {
			found = append(found, handlers(w, name)...)
		}
	}
	return found
}

// reach returns the values at a path such as rules[].headers[].name.
func reach(v any, path string) []any {
	values := []any{v}
	for step := range strings.SplitSeq(path, ".") {
		name, list := strings.CutSuffix(step, "[]")
		var next []any
		for _, v := range values {
			object, _ := v.(map[string]any)
			for member, w := range object {
				if member != name && name != "<name>" {
					continue
				}
				if elements, ok := w.([]any); ok && list {
					next = append(next, elements...)
				} else {
					next = append(next, w)
				}
			}
		}
		values = next
	}
	return values
}

// TestReferenceExamples has each example of the reference adapted: it sets the option in
// whose row it stands. What has no form in the Caddyfile is read as JSON.
func TestReferenceExamples(t *testing.T) {
	page := readPage(t, referencePage)
	tables, types := referenceTables(t, page)
	for _, m := range mark.FindAllStringSubmatch(page, -1) {
		examples := examplesOf(m[2])
		for _, r := range tables[m[1]].rows {
			example := spans(examples[r.path])
			var err error
			switch {
			case len(example) == 0:
				err = errors.New("there is no example")
			case strings.HasPrefix(example[0], `"`):
				err = exampleInJSON(types[m[1]], r, example[0])
			default:
				err = exampleInCaddyfile(m[1], r.path, example)
			}
			if err != nil {
				t.Errorf("%s: %s of %s: %v", referencePage, r.path, m[1], err)
			}
		}
	}
}

func exampleInCaddyfile(table, path string, example []string) error {
	var all []error
	for _, s := range settings[table] {
		config, err := s.adapt(example)
		if err != nil {
			all = append(all, err)
			continue
		}
		for _, object := range s.objects(config) {
			if len(reach(object, path)) > 0 {
				return nil
			}
		}
		all = append(all, fmt.Errorf("it does not set %s.%s", s.object, path))
	}
	return errors.Join(append(all, errors.New("that fits nowhere"))...)
}

// exampleInJSON reads members of an object into its structure.
func exampleInJSON(typ reflect.Type, r row, example string) error {
	if r.parent != typ && strings.Contains(r.path, ".") {
		typ = r.parent
	}
	x := reflect.New(typ)
	dec := json.NewDecoder(bytes.NewReader([]byte("{" + example + "}")))
	dec.DisallowUnknownFields()
	if err := dec.Decode(x.Interface()); err != nil {
		return err
	}
	again, err := json.Marshal(x.Interface())
	if err != nil {
		return err
	}
	name := r.path[strings.LastIndexByte(r.path, '.')+1:]
	var members map[string]any
	if err := json.Unmarshal(again, &members); err != nil || members[name] == nil {
		return fmt.Errorf("it does not set %s: %s, %v", name, again, err)
	}
	return nil
}

var thereAre = regexp.MustCompile(`there (?:is|are): ([a-z_, ]+)`)

// TestReferenceHasEveryKeyword asks each parser which options it has, and tries what else
// it might take: every word that is a text in the sources. What it takes has an example.
func TestReferenceHasEveryKeyword(t *testing.T) {
	page := readPage(t, referencePage)
	examples := map[string]map[string]bool{}
	for _, m := range mark.FindAllStringSubmatch(page, -1) {
		examples[m[1]] = map[string]bool{}
		for option, cell := range examplesOf(m[2]) {
			examples[m[1]]["option "+option] = true
			for _, line := range spans(cell) {
				word, _, _ := strings.Cut(line, " ")
				examples[m[1]][word] = true
			}
		}
	}
	words := literals(t)
	asked := 0
	parsers := maps.Clone(settings)
	parsers["rule"] = []setting{{around: inProxy("accept none\npresent none\nallow {\n" + lines + "\n}")}}
	parsers["dpop"] = []setting{{around: inProxy("present none\naccept jwt_verify {\nissuer https://i.example.com/\nany_audience\ndpop {\n" + lines + "\n}\n}")}}
	of := map[string][]string{
		"rule": {"rule.Rule", "rule.Check"}, "dpop": {"verify.JWTVerify"},
		"inject.OAuth2": {"inject.Placement"}, "inject.JWT": {"inject.Minting"}, "inject.Minting": {"inject.JWT"},
		"rr.Credential": {"verify.Bearer"}, // of which the one in the setting is
	}
	for name, list := range parsers {
		for _, s := range list {
			if s.outside {
				continue
			}
			_, err := s.adapt([]string{"zz_nothing"})
			if err == nil || !strings.Contains(err.Error(), `unrecognized option "zz_nothing"`) {
				t.Errorf("%s: it does not say that there is no option zz_nothing: %v", name, err)
				continue
			}
			asked++
			says := map[string]bool{}
			if m := thereAre.FindStringSubmatch(err.Error()); m != nil {
				for option := range strings.SplitSeq(strings.TrimSuffix(m[1], ", at "), ", ") {
					says[option] = true
				}
			}
			for option := range says {
				if !shown(examples, append(of[name], name), option) {
					t.Errorf("%s has no example of %s (%s)", referencePage, option, name)
				}
			}
			for _, word := range words {
				if says[word] {
					continue
				}
				_, err := s.adapt([]string{word})
				taken := err == nil || !strings.Contains(err.Error(), "unrecognized option "+strconv.Quote(word))
				if taken && !shown(examples, append(of[name], name), word) && !examples[name]["option "+word] {
					t.Errorf("%s takes %s, of which %s has no example: %v", name, word, referencePage, err)
				}
			}
		}
	}
	if asked < 25 {
		t.Errorf("only %d parsers were asked", asked)
	}
}

func shown(examples map[string]map[string]bool, tables []string, word string) bool {
	return slices.ContainsFunc(tables, func(name string) bool { return examples[name][word] })
}

var optionWord = regexp.MustCompile(`^[a-z][A-Za-z_]{1,30}$`)

// literals are the words that the sources have as texts.
func literals(t *testing.T) []string {
	t.Helper()
	found := map[string]bool{}
	sources(t, func(path string, file *ast.File) {
		if dir, _, _ := strings.Cut(path, "/"); dir == "cmd" || strings.HasPrefix(path, "internal/") && !strings.HasPrefix(path, "internal/oauth/") && !strings.HasPrefix(path, "internal/rule/") && !strings.HasPrefix(path, "internal/logsafe/") {
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if s, err := strconv.Unquote(lit.Value); err == nil && optionWord.MatchString(s) {
					found[s] = true
				}
			}
			return true
		})
	})
	if len(found) < 300 {
		t.Fatalf("only %d words", len(found))
	}
	return slices.Sorted(maps.Keys(found))
}
