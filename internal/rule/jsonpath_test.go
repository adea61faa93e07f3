package rule

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/theory/jsonpath"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

func TestJSONPath(t *testing.T) {
	doc, err := strictjson.Decode([]byte(`{"a":{"t":"x","n":null},"l":[{"t":"y"},{"t":"z"}]}`), strictjson.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][]any{
		"$.a.t": {"x"}, "$.a.n": {nil}, "$.l[*].t": {"y", "z"}, "$.l[?@.t=='z'].t": {"z"}, "$.none": {}, "$.a.t.u": {},
	} {
		p, err := ParseJSONPath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Select(doc); err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s selects %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{"", "a", "$.", "$.["} {
		if p, err := ParseJSONPath(path); err == nil || p != nil || !strings.Contains(err.Error(), "is not a JSONPath") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestJSONPathsAreFollowedAsTheLibraryDoes holds the own walk against the library's.
func TestJSONPathsAreFollowedAsTheLibraryDoes(t *testing.T) {
	doc := decoded(t, `{"a":{"t":"x","n":null,"a":[{"a":1},[2,[3]]]},"l":[{"t":"y","p":1},{"t":"z","p":20}],"max":10,"":"e","q]*":"b"}`)
	for _, path := range []string{
		"$", "$.a", "$..a", "$..*", "$..*..*", "$.*", "$[*,*]", "$..[0]", "$..[-1]", "$.a.a[0:1]", "$.l[?@.p < $.max]", "$.l[?@.p > 5 || @.t == 'y'].t",
		"$..[?@.t]", "$.l[?length(@.t) == 1 && !@.x]", "$.l[?count(@.t) == 1]", "$[?@ == 'b']", `$["q]*"]`, `$.l[?@["q]*"] || @.t == "]*..?$"]`, "$.l[?value(@.t) == 'z'].p",
	} {
		p, err := ParseJSONPath(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		got, err := p.Select(doc)
		if want := jsonpath.MustParse(path).Select(doc); err != nil || !sameValues(got, want) {
			t.Errorf("%s selects %v (%v), want %v", path, got, err, want)
		}
	}
}

// sameValues compares in any order: that of an object's members is by chance.
func sameValues(a, b []any) bool {
	texts := func(list []any) (out []string) {
		for _, v := range list {
			text, _ := json.Marshal(v)
			out = append(out, string(text))
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(texts(a), texts(b))
}

// TestFiltersThatCostMuch is about paths that take the square of a document's size and more.
func TestFiltersThatCostMuch(t *testing.T) {
	for path, why := range map[string]string{
		"$[?$..*]": "lead to one value", "$[?@..a]": "lead to one value", "$..[?@[?@.a]]": "lead to one value", "$[?@.*]": "lead to one value",
		"$[?@[0,0][0,0]]": "lead to one value", "$[?@[0:1]]": "lead to one value", "$[?@.a,?@[*]]": "lead to one value", "$[?count($..*) > 1]": "lead to one value",
		"$[?match(@.a, 'x')]": "match", "$[?!search(@, $.p)]": "match", "$[?(match(@,@))]": "match",
		"$[?length($.big) > 1]": "begin with $", "$[?@.a == $.b && length(@) > 1]": "begin with $", "$[?length(value($.big)) > 1]": "begin with $",
		`$[?@["\"]"] && @..a]`: "lead to one value",
	} {
		if _, err := ParseJSONPath(path); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %q", path, err, why)
		}
	}
}

// TestJSONPathsAreBounded follows paths that select a document of 1 MiB over and over.
func TestJSONPathsAreBounded(t *testing.T) {
	nested := strings.Repeat("[", 60) + strings.Repeat("]", 60)
	deep := decoded(t, "["+strings.Repeat(nested+",", DefaultMaxBody/(len(nested)+1)-1)+"1]")
	flat := decoded(t, "["+strings.Repeat("1,", DefaultMaxBody/2-2)+"1]")
	long := decoded(t, `{"a":"`+strings.Repeat("x", DefaultMaxBody-10)+`"}`)
	for _, tt := range []struct {
		name, path string
		doc        any
		fails      bool
	}{
		{"all of it", "$..*", deep, false},
		{"all of it", "$..*", flat, false},
		{"one filter", "$[?@ == 2]", flat, false},
		{"any depth twice", "$..*..*", deep, true},
		{"any depth often", "$" + strings.Repeat("..*", 100), deep, true},
		{"lists of selectors", "$" + strings.Repeat("[*,*]", 60), deep, true},
		{"a filter with many terms", "$[?@.a" + strings.Repeat(" || @.a", 50) + "]", flat, true},
		{"a long text often", "$['a'" + strings.Repeat(",'a'", 60) + "]", long, true},
		{"a long text", "$.a", long, false},
	} {
		p, err := ParseJSONPath(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := p.Select(tt.doc); (err != nil) != tt.fails || err != nil && found != nil {
			t.Errorf("%s, %.20s: %d values, %v", tt.name, tt.path, len(found), err)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	doc, err := strictjson.Decode([]byte(text), strictjson.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestWhatJSONPathsSelectIsBounded drives conditions to their bounds: the request is
// refused, whether the rule allows or denies.
func TestWhatJSONPathsSelectIsBounded(t *testing.T) {
	lists := strings.Repeat("[", 60) + `"` + strings.Repeat("x", 900_000) + `"` + strings.Repeat("]", 60)
	for _, tt := range []struct {
		name string
		rule Rule
		why  error
	}{
		{"too many values", Rule{Body: []Check{{Name: "$" + strings.Repeat("[*,*]", 50)}}}, errTooManySteps},
		{"much text within many lists", Rule{Body: []Check{{Name: "$..*", Pattern: "^nothing$"}}}, errTooMuch},
	} {
		for _, effect := range []func(Rule) Rule{allow, deny} {
			d := set(t, Allow, effect(tt.rule)).Decide(input(t, "POST", "/", lists, jsonType))
			if d.Allowed || !errors.Is(d.Err, tt.why) {
				t.Errorf("%s: got %+v", tt.name, d)
			}
		}
	}
}
