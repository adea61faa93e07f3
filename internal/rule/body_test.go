package rule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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
		{"with half a surrogate pair", `{"a":"\ud83d x"}`, "surrogate", []string{jsonType}},
		{"with a surrogate pair", `{"a":"\ud83d\ude00\\ud83d"}`, "", []string{jsonType}},
		{"with a NUL in a name", `{"a\u0000":1}`, "NUL", []string{jsonType}},
		{"a form with a NUL in a name", "a%00=1", "NUL", []string{form}},
		{"a form with a field both plain and nested", "a=1&a[b]=2", "field twice", []string{form}},
		{"a form with nested fields", "a[b]=1&a[c]=2", "", []string{form}},
		{"of a JSON type of its own", `{}`, "", []string{"Content-Type: application/problem+json; charset=UTF-8"}},
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
	for depth, judged := range map[int]bool{64: true, 65: false} {
		if _, err := parseJSON([]byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))); (err == nil) != judged {
			t.Errorf("%d lists inside one another: %v", depth, err)
		}
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

func TestABodyThatIsBeingForwardedIsNotJudged(t *testing.T) {
	r, b := withBody(t, strings.NewReader(`1{"a":1}`), -1, jsonType)
	if _, err := r.Body.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.document(); err == nil {
		t.Error("the rest of a body was judged")
	}
}

// TestABodyIsForwardedByNetHTTP judges a body in a server and forwards a copy of the
// request with a client, as a reverse proxy does.
func TestABodyIsForwardedByNetHTTP(t *testing.T) {
	type seen struct {
		body    string
		length  int64
		trailer string
	}
	var got seen
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{string(data), r.ContentLength, r.Trailer.Get("X-Sum")}
	}))
	defer upstream.Close()
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := NewBody(r, 16)
		_, judged := b.document()
		out := r.Clone(r.Context())
		out.Trailer = r.Trailer // Clone copies the map, which is filled in at the end
		out.URL, out.RequestURI = &url.URL{Scheme: "http", Host: upstream.Listener.Addr().String(), Path: "/"}, ""
		res, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		_ = res.Body.Close()
		if judged != nil {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer gateway.Close()
	for _, tt := range []struct {
		name, body string
		chunked    bool
		status     int
	}{
		{"a body of known length", `{"a":1}`, false, 200},
		{"a body in chunks, with a trailer", `{"a":1}`, true, 200},
		{"a body of exactly the limit", `{"a":1234567890}`, true, 200},
		{"a body over the limit, in chunks", `{"a":"` + strings.Repeat("x", 100_000) + `"}`, true, 403},
		{"a body over the limit, of known length", `{"a":"` + strings.Repeat("x", 100_000) + `"}`, false, 403},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := seen{tt.body, int64(len(tt.body)), ""}
			r, err := http.NewRequest("POST", gateway.URL, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			if tt.chunked {
				r.ContentLength, r.Trailer = -1, http.Header{"X-Sum": {"7"}}
				want.length, want.trailer = -1, "7"
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if got != want || res.StatusCode != tt.status {
				t.Errorf("status %d, forwarded %d bytes, length %d, trailer %q", res.StatusCode, len(got.body), got.length, got.trailer)
			}
		})
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
