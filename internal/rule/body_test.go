package rule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

func withBody(t testing.TB, body io.Reader, length int64, headers ...string) (*http.Request, *Body) {
	t.Helper()
	r, err := http.NewRequest("POST", "http://gw.test/", io.NopCloser(body))
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = length
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	return r, NewBody(r, 64)
}

func TestBodiesThatCannotBeJudged(t *testing.T) {
	form := "Content-Type: application/x-www-form-urlencoded"
	for _, tt := range []struct {
		name, body, err string
		headers         []string
	}{
		{"missing", "", "missing", []string{jsonType}},
		{"too large", `"` + strings.Repeat("x", 64) + `"`, "more than the 64 bytes", []string{jsonType}},
		{"compressed", `{}`, "compressed", []string{jsonType, "Content-Encoding: gzip"}},
		{"of another type", `{}`, "neither JSON nor a form", []string{"Content-Type: text/plain"}},
		{"of no type", `{}`, "no Content-Type", nil},
		{"of two types", `{}`, "or several", []string{jsonType, "Content-Type: text/plain"}},
		{"of a broken type", `{}`, "cannot be read", []string{"Content-Type: application/json; charset"}},
		{"in another charset", `{}`, "not UTF-8", []string{"Content-Type: application/json; charset=utf-16"}},
		{"not valid", `{"a":1`, "not valid JSON", []string{jsonType}},
		{"two values", `{} {}`, "not valid JSON", []string{jsonType}},
		{"with a byte order mark", "\xef\xbb\xbf{}", "not valid JSON", []string{jsonType}},
		{"not UTF-8", "{\"a\":\"\xff\"}", "not valid JSON", []string{jsonType}},
		{"with a member twice", `{"a":1,"a":2}`, "member twice", []string{jsonType}},
		{"with a member twice, escaped", `{"a":1,"\u0061":2}`, "member twice", []string{jsonType}},
		{"with a member twice in another case", `{"amount":1,"Amount":2}`, "member twice", []string{jsonType}},
		{"with a nested member twice", `[{"b":{"a":1,"a":2}}]`, "member twice", []string{jsonType}},
		{"nested too deeply", strings.Repeat("[", 32) + strings.Repeat("]", 32) + "", "", []string{jsonType}},
		{"a form with a field twice", "a=1&a=2", "field twice", []string{form}},
		{"a form with a semicolon", "a=1;b=2", "not a valid form", []string{form}},
		{"a form that cannot be decoded", "a=%zz", "not a valid form", []string{form}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, b := withBody(t, strings.NewReader(tt.body), -1, tt.headers...)
			_, err := b.document()
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, want %q", err, tt.err)
			}
			if got, err := io.ReadAll(r.Body); err != nil || string(got) != tt.body {
				t.Errorf("forwarded: %q, %v", got, err)
			}
		})
	}
	if _, err := parseJSON([]byte(strings.Repeat("[", 80) + strings.Repeat("]", 80))); err == nil {
		t.Error("a body that is nested 80 deep was judged")
	}
}

func TestABodyIsForwardedWholeAlsoInACopyOfTheRequest(t *testing.T) {
	const text = `{"a":"` + "0123456789" + `"}`
	r, b := withBody(t, iotest.OneByteReader(strings.NewReader(text)), int64(len(text)), jsonType)
	shallow := *r
	if _, err := b.document(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.document(); err != nil {
		t.Fatal("the second scope sees another body:", err)
	}
	if got, err := io.ReadAll(shallow.Body); err != nil || string(got) != text || shallow.ContentLength != int64(len(text)) {
		t.Errorf("forwarded: %q, %v", got, err)
	}
}

func TestABodyThatBreaksOff(t *testing.T) {
	broken := errors.New("the caller is gone")
	r, b := withBody(t, io.MultiReader(strings.NewReader(`{"a"`), iotest.ErrReader(broken)), -1, jsonType)
	if _, err := b.document(); err == nil {
		t.Error("half a body was judged")
	}
	if got, err := io.ReadAll(r.Body); !errors.Is(err, broken) || string(got) != `{"a"` {
		t.Errorf("forwarded: %q, %v", got, err)
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{`{"a":1}`, `[1,2,{"b":null}]`, `{"a":1,"A":2}`, `1e5`, `"\ud800"`, `{`, ``, `{"a":{"a":[]}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, b := withBody(t, strings.NewReader(text), -1, jsonType)
		doc, err := b.document()
		if got, readErr := io.ReadAll(r.Body); readErr != nil || string(got) != text {
			t.Fatalf("%q was forwarded as %q, %v", text, got, readErr)
		}
		if err != nil {
			return
		}
		var want any
		dec := json.NewDecoder(strings.NewReader(text))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil || !reflect.DeepEqual(doc, want) {
			t.Errorf("%q is %v, to encoding/json %v, %v", text, doc, want, err)
		}
	})
}
