package rule

import (
	"reflect"
	"strings"
	"testing"

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
		if got := p.Select(doc); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s selects %v, want %v", path, got, want)
		}
	}
	for _, path := range []string{"", "a", "$.", "$.["} {
		if p, err := ParseJSONPath(path); err == nil || p != nil || !strings.Contains(err.Error(), "is not a JSONPath") {
			t.Errorf("%q: %v", path, err)
		}
	}
}
