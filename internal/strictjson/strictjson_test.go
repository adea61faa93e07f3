package strictjson

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
)

// nested is JSON that is depth levels deep, lists and objects in turn.
func nested(depth int) string {
	var open, end strings.Builder
	for i := range depth {
		if i%2 == 0 {
			open.WriteString("[")
		} else {
			open.WriteString(`{"a":`)
		}
	}
	for i := range depth {
		if (depth-1-i)%2 == 0 {
			end.WriteString("]")
		} else {
			end.WriteString("}")
		}
	}
	inner := "1"
	return open.String() + inner + end.String()
}

func TestWhatEveryReaderReadsAlikeIsDecoded(t *testing.T) {
	n := func(s string) json.Number { return json.Number(s) }
	for name, c := range map[string]struct {
		in   string
		want any
	}{
		"an empty object":              {`{}`, map[string]any{}},
		"an empty list":                {`[]`, []any{}},
		"a literal":                    {`true`, true},
		"null":                         {`null`, nil},
		"null as a value":              {`{"a":null}`, map[string]any{"a": nil}},
		"a string":                     {`"a"`, "a"},
		"blanks around":                {" \t\r\n{} \n", map[string]any{}},
		"an integer beyond float64":    {`9007199254740993`, n("9007199254740993")},
		"a number beyond float64":      {`1e400`, n("1e400")},
		"a number with 1000 digits":    {strings.Repeat("9", 1000), n(strings.Repeat("9", 1000))},
		"minus nothing":                {`-0`, n("-0")},
		"a fraction as it is written":  {`1.50E+2`, n("1.50E+2")},
		"everything nested":            {`{"a":[1,{"b":[]},"c"],"d":{}}`, map[string]any{"a": []any{n("1"), map[string]any{"b": []any{}}, "c"}, "d": map[string]any{}}},
		"the same name at two places":  {`{"a":{"a":1},"b":{"a":2}}`, map[string]any{"a": map[string]any{"a": n("1")}, "b": map[string]any{"a": n("2")}}},
		"the same name in list items":  {`[{"a":1},{"a":1}]`, []any{map[string]any{"a": n("1")}, map[string]any{"a": n("1")}}},
		"names that differ by case":    {`{"a":1,"A":2}`, map[string]any{"a": n("1"), "A": n("2")}},
		"names in two normal forms":    {"{\"\u00e9\":1,\"e\u0301\":2}", map[string]any{"\u00e9": n("1"), "e\u0301": n("2")}},
		"an empty name":                {`{"":1}`, map[string]any{"": n("1")}},
		"a name JavaScript treats":     {`{"__proto__":1}`, map[string]any{"__proto__": n("1")}},
		"an escaped name":              {`{"\u0061":1}`, map[string]any{"a": n("1")}},
		"a surrogate pair":             {`"\ud83d\ude00"`, "😀"},
		"two surrogate pairs":          {`"\ud83d\ude00\uD83D\uDE00"`, "😀😀"},
		"what looks like half a pair":  {`"\\ud83d"`, `\ud83d`},
		"so does the second half":      {`"\\\\ude00"`, `\\ude00`},
		"the units beside surrogates":  {`"\ud7ff\ue000"`, "\ud7ff\ue000"},
		"all escapes":                  {`"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
		"NUL in a value":               {`{"a":"b\u0000"}`, map[string]any{"a": "b\x00"}},
		"what U+FFFD stands for":       {`"\ufffd` + "\ufffd" + `"`, "\ufffd\ufffd"},
		"as deep as it may be":         {nested(MaxDepth), nil},
		"line separators in a string":  {"\"\u2028\u2029\"", "\u2028\u2029"},
		"a noncharacter in a string":   {`"\uffff"`, "\uffff"},
		"many members":                 {`{"a":1,"b":2,"c":3,"d":4}`, map[string]any{"a": n("1"), "b": n("2"), "c": n("3"), "d": n("4")}},
		"a number as the last of many": {`[1,2.5,-3e-7]`, []any{n("1"), n("2.5"), n("-3e-7")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(c.in), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if c.want == nil && c.in != "null" {
				c.want = reference(t, c.in)
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}

// reference is what encoding/json makes of it.
func reference(t testing.TB, in string) (v any) {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(in))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatReadersReadDifferentlyIsRefused(t *testing.T) {
	const (
		invalid = "not valid JSON"
		twice   = "member twice"
		half    = "half a surrogate pair"
		inName  = "NUL in a name"
		inText  = "NUL in a string"
		deep    = "nested too deeply"
	)
	fold := Options{Fold: strings.ToLower}
	noNUL := Options{NoNUL: true}
	for name, c := range map[string]struct {
		in   string
		o    Options
		want string
	}{
		"nothing":                            {"", Options{}, invalid},
		"blanks alone":                       {" \n", Options{}, invalid},
		"a broken object":                    {`{"a":1`, Options{}, invalid},
		"two values":                         {`{}{}`, Options{}, invalid},
		"a letter behind":                    {`{}x`, Options{}, invalid},
		"a NUL behind":                       {"{}\x00", Options{}, invalid},
		"a form feed behind":                 {"{}\f", Options{}, invalid},
		"a byte order mark":                  {"\ufeff{}", Options{}, invalid},
		"a comma too many":                   {`{"a":1,}`, Options{}, invalid},
		"a comment":                          {`{"a":1/**/}`, Options{}, invalid},
		"single quotes":                      {`{'a':1}`, Options{}, invalid},
		"a name without quotes":              {`{a:1}`, Options{}, invalid},
		"a number that is none":              {`{"a":NaN}`, Options{}, invalid},
		"another":                            {`{"a":-Infinity}`, Options{}, invalid},
		"a leading zero":                     {`{"a":01}`, Options{}, invalid},
		"a hexadecimal number":               {`{"a":0x1}`, Options{}, invalid},
		"a plus":                             {`{"a":+1}`, Options{}, invalid},
		"a literal in another case":          {`{"a":True}`, Options{}, invalid},
		"a raw line end in a string":         {"\"a\nb\"", Options{}, invalid},
		"a raw NUL in a string":              {"\"a\x00b\"", Options{}, invalid},
		"an escape that is none":             {`"\x41"`, Options{}, invalid},
		"bytes that are not UTF-8":           {"\"\xff\"", Options{}, invalid},
		"names that are not UTF-8":           {"{\"\xff\":1,\"\xfe\":2}", Options{}, invalid},
		"an overlong encoding":               {"\"\xc0\xaf\"", Options{}, invalid},
		"a surrogate in UTF-8":               {"\"\xed\xa0\x80\"", Options{}, invalid},
		"10,001 lists":                       {strings.Repeat("[", 10001), Options{}, invalid},
		"one level too deep":                 {nested(MaxDepth + 1), Options{}, deep},
		"one empty list too deep":            {strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), Options{}, deep},
		"a member twice":                     {`{"a":1,"a":2}`, Options{}, twice},
		"with the same value":                {`{"a":1,"a":1}`, Options{}, twice},
		"with null":                          {`{"a":null,"a":1}`, Options{}, twice},
		"with another between":               {`{"a":1,"b":2,"a":3}`, Options{}, twice},
		"escaped":                            {`{"a":1,"\u0061":2}`, Options{}, twice},
		"escaped in other letters":           {`{"\u00e9":1,"\u00E9":2}`, Options{}, twice},
		"the empty name twice":               {`{"":1,"":2}`, Options{}, twice},
		"a member twice in a value":          {`{"a":{"b":1,"b":2}}`, Options{}, twice},
		"in a list":                          {`[1,[{"b":1,"b":2}]]`, Options{}, twice},
		"in the value of one that is":        {`{"a":{"b":1,"b":2},"a":1}`, Options{}, twice},
		"a member twice, folded":             {`{"alg":1,"ALG":2}`, fold, twice},
		"folded, in a value":                 {`{"a":[{"kid":1,"Kid":2}]}`, fold, twice},
		"folded, the very same":              {`{"a":1,"a":2}`, fold, twice},
		"folded, by a Kelvin sign":           {`{"kid":1,"\u212aid":2}`, fold, twice},
		"half a pair":                        {`"\ud83d"`, Options{}, half},
		"the other half":                     {`"\ude00"`, Options{}, half},
		"the halves in the wrong order":      {`"\ude00\ud83d"`, Options{}, half},
		"a half twice":                       {`"\ud83d\ud83d"`, Options{}, half},
		"a pair and a half":                  {`"\ud83d\ude00\ud83d"`, Options{}, half},
		"half a pair before text":            {`"\ud83dabcdef"`, Options{}, half},
		"half a pair before an escape":       {`"\ud83d\n12345"`, Options{}, half},
		"half a pair before an escaped \\":   {`"\ud83d\\ude00"`, Options{}, half},
		"behind an escaped backslash":        {`"\\\ud83d"`, Options{}, half},
		"half a pair in a name":              {`{"\uDBFF":1}`, Options{}, half},
		"names that differ by halves":        {`{"a\ud800":1,"a\ud801":2}`, Options{}, half},
		"half a pair at the end of a name":   {`{"a":"\ud800","b":"\udc00"}`, Options{}, half},
		"NUL in a name":                      {`{"a\u0000b":1}`, Options{}, inName},
		"NUL at the end of a name":           {`{"exp":1,"exp\u0000":2}`, Options{}, inName},
		"NUL in a name in a value":           {`{"a":[{"\u0000":1}]}`, Options{}, inName},
		"NUL in a string where it is barred": {`{"a":"b\u0000"}`, noNUL, inText},
		"in a string in a list":              {`["b\u0000"]`, noNUL, inText},
		"alone":                              {`"\u0000"`, noNUL, inText},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(c.in), c.o)
			if err == nil {
				t.Fatalf("it is decoded to %#v", got)
			}
			if got != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v and the error %q, want %q", got, err, c.want)
			}
		})
	}
}

func TestErrorsHoldNothingOfTheData(t *testing.T) {
	for _, in := range []string{
		`{"s3cret":1,"s3cret":2}`, `{"s3cret\u0000":1}`, `"s3cret\ud800"`, `{"s3cret"`, `["s3cret\u0000"]`,
		strings.Repeat(`{"s3cret":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1),
	} {
		_, err := Decode([]byte(in), Options{NoNUL: true})
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func TestObject(t *testing.T) {
	for in, fine := range map[string]bool{
		`{}`: true, `{"a":[]}`: true, ` {} `: true,
		`null`: false, `[]`: false, `"{}"`: false, `1`: false, `true`: false, ``: false, `{"a":1,"a":1}`: false,
	} {
		got, err := Object([]byte(in), Options{})
		if (err == nil) != fine || (got != nil) != fine {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}

// FuzzDecode holds Decode against encoding/json in both directions: what is accepted has
// that value and no member twice, and what encoding/json would write is accepted.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"A":2}`, `{"a":[1,2.5e3,-0,1e400],"b":{"a":null}}`, `["\ud83d\ude00","\ud83d","\\ud83d"]`, `{"\u0000":"\u0000"}`,
		`{"a":1,"\u0061":2}`, nested(MaxDepth), nested(MaxDepth + 1), "\"\xff\"", `{} {}`, "", `"` + "\ufffd" + `"`,
	} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, data []byte, strict bool) {
		o := Options{}
		if strict {
			o = Options{Fold: strings.ToLower, NoNUL: true}
		}
		got, err := Decode(data, o)
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.UseNumber()
		var want any
		wantErr := dec.Decode(&want)
		if _, more := dec.Token(); wantErr == nil && more != io.EOF {
			wantErr = io.ErrUnexpectedEOF // something is behind the value
		}
		switch {
		case err != nil && wantErr == nil:
			rewritten(t, want)
		case err == nil && wantErr != nil:
			t.Errorf("%q is accepted; encoding/json says %v", data, wantErr)
		case err == nil:
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%q is %#v; encoding/json says %#v", data, got, want)
			}
			if written, kept := names(data), members(got); written != kept {
				t.Errorf("%q has %d names, of which %d are kept", data, written, kept)
			}
		}
	})
}

// rewritten checks that a value is accepted as encoding/json writes it: nothing is twice
// and nothing is half there. What is left to refuse is NUL in names and depth.
func rewritten(t *testing.T, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(text, Options{})
	if err != nil {
		if s := err.Error(); strings.Contains(s, "NUL in a name") && bytes.Contains(text, []byte(`\u0000`)) ||
			strings.Contains(s, "deep") && bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > MaxDepth {
			return
		}
		t.Errorf("%s is refused: %v", text, err)
	} else if !reflect.DeepEqual(got, v) {
		t.Errorf("%s is %#v, not %#v", text, got, v)
	}
}

// names counts the member names in valid JSON: the colons that are not in strings.
func names(data []byte) (n int) {
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case c == ':' && !inString:
			n++
		}
	}
	return n
}

// members counts the members of all objects in a value.
func members(v any) (n int) {
	switch v := v.(type) {
	case map[string]any:
		n = len(v)
		for _, inner := range v {
			n += members(inner)
		}
	case []any:
		for _, inner := range v {
			n += members(inner)
		}
	}
	return n
}
