package docs

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// incidentsPage is written by `go test ./test/docs -run TestIncidents -update`.
const incidentsPage = "docs/incidents.md"

// incident is a test named TestPeer_<id>_<what>: something that went wrong in another
// product, tried on rr. Its doc comment is what the page says of it.
type incident struct {
	name, file string
	what       string // went wrong elsewhere
	sources    []string
	here       string // what rr does
	topic      string
}

// topics are the parts of the page, in this order; a test is in the one that its Topic line
// names, or else in the one of its file, test/peers_<topic>_test.go. A file's topic that is not here
// is a heading itself, after these: products_kong is "Products: kong".
var topics = []struct{ key, heading string }{
	{"hosts", "Where a secret may go"},
	{"removal", "The caller's credential stays at the gateway"},
	{"unresolved", "A secret that is not there"},
	{"writeonly", "Secrets are shown to nobody"},
	{"strict", "When it cannot be decided"},
	{"headers", "Tricks with headers"},
	{"jwt", "JSON Web Tokens"},
	{"jwks", "Keys of issuers"},
	{"caches", "What is remembered"},
	{"management", "The management API"},
	{"oauth2", "Tokens for upstreams"},
	{"retry", "When the upstream refuses a token"},
	{"traffic", "Traffic that must not break"},
	{"rotation", "Replacing credentials"},
	{"keys", "Credentials of callers"},
	{"ambiguous", "Two credentials at once"},
	{"rules", "Rules and paths"},
	{"logs", "Logs"},
	{"answers", "Answers"},
	{"throttle", "Too many failures"},
	{"lifecycle", "A request on its way through Caddy"},
	{"egress", "Addresses"},
	{"placements", "Where a credential is put"},
	{"refresh", "Refresh tokens"},
	{"behalf", "On behalf of callers"},
	{"introspection", "Introspection and revocation"},
	{"possession", "Tokens that are bound to a key"},
	{"audit", "Audit and metrics"},
}

var (
	incidentName  = regexp.MustCompile(`^TestPeer_(CVE_\d{4}_\d{4,}|GHSA(?:_[0-9a-z]{4}){3}|Requirement|[0-9a-z_]*[a-z][0-9a-z_]*_(?:\d+|[0-9a-f]{7,40}))_([A-Z]\w*)$`)
	cveID         = regexp.MustCompile(`^CVE-\d{4}-\d{4,}$`)
	advisoryID    = regexp.MustCompile(`^GHSA(-[0-9a-z]{4}){3}$`)
	threadID      = regexp.MustCompile(`^([\w.-]+/([\w.-]+))#(\d+)$`)
	commitID      = regexp.MustCompile(`^([\w.-]+/([\w.-]+))@([0-9a-f]{7,40})$`)
	repositoryID  = regexp.MustCompile(`^[\w.-]+/[\w.-]+$`)
	rfcID         = regexp.MustCompile(`^RFC (\d+)( section ([\d.]+))?$`)
	incidentLines = regexp.MustCompile(`(?m)^(Sources|Here|Topic): `)
)

// TestIncidents compares the page with the tests, and with -update writes it.
func TestIncidents(t *testing.T) {
	list, faults := readIncidents(t)
	for _, fault := range faults {
		t.Error(fault)
	}
	page := writeIncidents(list)
	if *update {
		if err := os.WriteFile(incidentsPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(incidentsPage); err != nil || string(got) != page {
		t.Errorf("%s is not what the tests say (%v); write it with: go test ./test/docs -run TestIncidents -update", incidentsPage, err)
	}
}

// readIncidents looks through the tests of this module.
func readIncidents(t *testing.T) (list []incident, faults []string) {
	names := map[string]string{}
	goFiles(t, func(path string, file *ast.File) {
		if !strings.HasSuffix(path, "_test.go") {
			return
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasPrefix(f.Name.Name, "TestPeer_") {
				continue
			}
			i, err := readIncident(f.Name.Name, path, f.Doc.Text())
			if err == nil && names[i.name] != "" {
				err = fmt.Errorf("%s has this name, too", names[i.name])
			}
			if err != nil {
				faults = append(faults, fmt.Sprintf("%s: %s: %v", path, f.Name.Name, err))
				continue
			}
			names[i.name] = path
			list = append(list, i)
		}
	})
	return list, faults
}

// readIncident reads the doc comment of a test: what went wrong, then the lines that begin
// with Sources, Here and, if need be, Topic, each of which may go on in the next lines.
func readIncident(name, file, doc string) (i incident, err error) {
	m := incidentName.FindStringSubmatch(name)
	if m == nil {
		return i, fmt.Errorf("the name is not TestPeer_CVE_<year>_<number>_<What>, TestPeer_GHSA_<id>_<What>, TestPeer_<repository>_<thread or commit>_<What> or TestPeer_Requirement_<What>")
	}
	i = incident{name: name, file: file}
	at := incidentLines.FindAllStringSubmatchIndex(doc, -1)
	said := doc
	for n, line := range at {
		end := len(doc)
		if n+1 < len(at) {
			end = at[n+1][0]
		}
		if n == 0 {
			said = doc[:line[0]]
		}
		value := oneLine(doc[line[1]:end])
		switch doc[line[2]:line[3]] {
		case "Sources":
			for source := range strings.SplitSeq(value, ",") {
				i.sources = append(i.sources, strings.TrimSuffix(strings.TrimSpace(source), "."))
			}
		case "Here":
			i.here = value
		case "Topic":
			i.topic = strings.TrimSuffix(value, ".")
		}
	}
	i.what = strings.TrimPrefix(oneLine(said), name+": ")
	switch {
	case i.what == "":
		return i, fmt.Errorf("the doc comment does not say what went wrong")
	case len(i.sources) == 0:
		return i, fmt.Errorf("the doc comment has no line `Sources: `")
	case i.here == "":
		return i, fmt.Errorf("the doc comment has no line `Here: `")
	}
	if !namesSource(m[1], i.sources) {
		return i, fmt.Errorf("the sources %q do not have the one in the name", i.sources)
	}
	return i, i.setTopic()
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// namesSource reports whether the sources have the id that is in the name of a test.
func namesSource(id string, sources []string) bool {
	if id == "Requirement" {
		return true
	}
	plain := strings.NewReplacer("-", "_", ".", "_")
	for _, s := range sources {
		name := plain.Replace(s)
		if m := threadID.FindStringSubmatch(s); m != nil {
			name = strings.ToLower(plain.Replace(m[2] + "_" + m[3]))
		} else if m := commitID.FindStringSubmatch(s); m != nil {
			name = strings.ToLower(plain.Replace(m[2] + "_" + m[3]))
		}
		if name == id {
			return true
		}
	}
	return false
}

// setTopic finds the heading.
func (i *incident) setTopic() error {
	key := i.topic
	if key == "" {
		var ok bool
		if key, ok = strings.CutPrefix(strings.TrimSuffix(filepath.Base(i.file), "_test.go"), "peers_"); !ok {
			return fmt.Errorf("the doc comment has no line `Topic: `, and the file is not peers_<topic>_test.go")
		}
	}
	for _, t := range topics {
		if t.key == key || t.heading == key {
			i.topic = t.heading
			return nil
		}
	}
	if product, ok := strings.CutPrefix(key, "products_"); ok && i.topic == "" {
		i.topic = "Products: " + strings.ReplaceAll(product, "_", " ")
		return nil
	}
	return fmt.Errorf("there is no topic %q", key)
}

const incidentsIntro = `# What went wrong elsewhere

Gateways, proxies and libraries that do what rr does have published what went wrong with them. Here it is, and the test that tries the
same on rr: with a real gateway between a real caller and a real upstream, or with the package that decides. Each test
fails if rr does what is described.

This page is written from the tests: their names and doc comments are what it says, and a test compares it with them. ` + "`go test ./... -run TestPeer_`" + `
runs them all. That a product is named does not mean that it is still so: most of it was repaired long ago, and
that it is public does them credit. The words are ours; the links have theirs.
`

// writeIncidents makes the page.
func writeIncidents(list []incident) string {
	slices.SortFunc(list, func(a, b incident) int { return strings.Compare(a.name, b.name) })
	var order []string
	for _, t := range topics {
		order = append(order, t.heading)
	}
	var more []string
	for _, i := range list {
		if !slices.Contains(order, i.topic) && !slices.Contains(more, i.topic) {
			more = append(more, i.topic)
		}
	}
	slices.Sort(more)
	var b strings.Builder
	b.WriteString(incidentsIntro)
	for _, topic := range append(order, more...) {
		head := "\n## " + topic + "\n\n| what went wrong elsewhere | sources | what rr does | test |\n| --- | --- | --- | --- |\n"
		for _, i := range list {
			if i.topic == topic {
				fmt.Fprintf(&b, "%s| %s | %s | %s | [`%s`](../%s) |\n", head, cell(i.what), links(i.sources), cell(i.here), strings.TrimPrefix(i.name, "TestPeer_"), i.file)
				head = ""
			}
		}
	}
	b.WriteString("\n## Not applicable\n\nWhat others have learnt about things that rr does not have, so that there is nothing to try.\n\n| what | sources | why not |\n| --- | --- | --- |\n")
	for _, n := range notApplicable {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(n.what), links(n.sources), cell(n.why))
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// links leads to what the sources name.
func links(sources []string) string {
	var list []string
	for _, s := range sources {
		list = append(list, sourceLink(s))
	}
	return strings.Join(list, ", ")
}

func sourceLink(s string) string {
	to := ""
	if cveID.MatchString(s) {
		to = "https://nvd.nist.gov/vuln/detail/" + s
	} else if advisoryID.MatchString(s) {
		to = "https://github.com/advisories/" + s
	} else if m := threadID.FindStringSubmatch(s); m != nil {
		to = "https://github.com/" + m[1] + "/issues/" + m[3] // also leads to pull requests
	} else if m := commitID.FindStringSubmatch(s); m != nil {
		to = "https://github.com/" + m[1] + "/commit/" + m[3]
	} else if repositoryID.MatchString(s) {
		to = "https://github.com/" + s
	} else if m := rfcID.FindStringSubmatch(s); m != nil {
		to = "https://www.rfc-editor.org/rfc/rfc" + m[1]
		if m[3] != "" {
			to += "#section-" + m[3]
		}
	} else {
		return cell(s)
	}
	return "[" + s + "](" + to + ")"
}

// TestIncidentsThatSayTooLittle has the reader refuse what it must, so that the page is known
// to be whole.
func TestIncidentsThatSayTooLittle(t *testing.T) {
	const good = "Headers were lost.\nSources: CVE-2024-45410, a/b-c#12,\na/b@0123abc.\nHere: They are\nkept.\n"
	const file = "test/peers_headers_test.go"
	for _, tt := range []struct{ name, file, doc, fault string }{
		{"TestPeer_CVE_2024_45410_Strip", file, good, ""},
		{"TestPeer_b_c_12_Strip", file, good, ""},
		{"TestPeer_b_0123abc_Strip", file, good, ""},
		{"TestPeer_Requirement_Strip", file, good, ""},
		{"TestPeer_Requirement_Strip", "verify/x_test.go", good + "Topic: jwt\n", ""},
		{"TestPeer_b_c_13_Strip", file, good, "do not have the one in the name"},
		{"TestPeer_CVE_2024_1_Strip", file, good, "the name is not"},
		{"TestPeer_Strip", file, good, "the name is not"},
		{"TestPeer_b_c_12_strip", file, good, "the name is not"},
		{"TestPeer_Requirement_Strip", file, "", "what went wrong"},
		{"TestPeer_Requirement_Strip", file, strings.Replace(good, "Sources:", "Source:", 1), "no line `Sources: `"},
		{"TestPeer_Requirement_Strip", file, strings.Replace(good, "Here:", "There:", 1), "no line `Here: `"},
		{"TestPeer_Requirement_Strip", "verify/x_test.go", good, "no line `Topic: `"},
		{"TestPeer_Requirement_Strip", file, good + "Topic: nonsense\n", `no topic "nonsense"`},
		{"TestPeer_Requirement_Strip", "test/peers_nonsense_test.go", good, `no topic "nonsense"`},
		{"TestPeer_Requirement_Strip", "test/peers_products_small_proxies_test.go", good, ""},
	} {
		i, err := readIncident(tt.name, tt.file, tt.doc)
		if tt.fault == "" && (err != nil || i.what != "Headers were lost." || i.here != "They are kept." || len(i.sources) != 3 || i.sources[2] != "a/b@0123abc") {
			t.Errorf("%s in %s: %v, %+v", tt.name, tt.file, err, i)
		} else if tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
			t.Errorf("%s in %s: %v, want %q", tt.name, tt.file, err, tt.fault)
		}
	}
}
