package rule

import (
	"errors"
	"net/url"
	"path"
	"strings"
	"testing"
)

func parse(t testing.TB, target string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Skipf("no request has this target: %v", err)
	}
	return u
}

func TestCanonicalPath(t *testing.T) {
	for _, tt := range []struct {
		target   string
		want     string // "" = refused
		wantKeep string // with encoded_slash keep
	}{
		{"/", "/", "/"},
		{"/v1/charges", "/v1/charges", "/v1/charges"},
		{"/v1/charges/", "/v1/charges/", "/v1/charges/"},
		{"/a%20b/%C3%A4", "/a b/ä", "/a b/ä"},
		{"/%61dmin", "/admin", "/admin"},
		{"/a;b=c", "/a;b=c", "/a;b=c"},
		{"/a%3Bb", "/a;b", "/a;b"},
		{"/...", "/...", "/..."},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x"},
		{"/a..b/..c", "/a..b/..c", "/a..b/..c"},
		{"/a%25b", "/a%b", "/a%25b"},
		{"/a%252fb", "/a%2fb", "/a%252fb"},
		{"/%252e%252e/a", "/%2e%2e/a", "/%252e%252e/a"},
		{"/a%2Fb", "", "/a%2Fb"},
		{"/a%2fb%20c", "", "/a%2Fb c"},
		{"/a/%2e%2e/b", "", ""},
		{"/a/.%2E/b", "", ""},
		{"/a/../b", "", ""},
		{"/a/..", "", ""},
		{"/..", "", ""},
		{"/.", "", ""},
		{"/a/./b", "", ""},
		{"/a/..;x/b", "", ""},
		{"/a/.;/b", "", ""},
		{"/a/%2e%2e%3bx/b", "", ""},
		{"/a//b", "", ""},
		{"//a", "", ""},
		{"//", "", ""},
		{"/a//", "", ""},
		{"/a%2f%2e%2e%2fb", "", ""},
		{"/a%2f..%2fb", "", ""},
		{"/a%2F%2Fb", "", ""},
		{"/a/%2Fb", "", ""},
		{"/a%5cb", "", ""},
		{`/a\b`, "", ""},
		{"/a%00b", "", ""},
		{"/a%0d%0ab", "", ""},
		{"/a%7fb", "", ""},
	} {
		for _, keep := range []bool{false, true} {
			want := tt.want
			if keep {
				want = tt.wantKeep
			}
			got, err := CanonicalPath(parse(t, tt.target), keep)
			if got != want || (err != nil) != (want == "") || err != nil && !errors.Is(err, ErrBadPath) {
				t.Errorf("%s (keep %v): got %q, %v, want %q", tt.target, keep, got, err, want)
			}
		}
	}
	for _, u := range []*url.URL{{}, {Path: "*"}, {Path: "a"}, {Path: "/a", RawPath: "/b"}, {Path: "/a/b", RawPath: "/a%2Fb%"}} {
		if got, err := CanonicalPath(u, false); err == nil && u.RawPath != "/b" && u.RawPath != "/a%2Fb%" {
			t.Errorf("%+v became %q", u, got)
		}
	}
}

func TestCleanPathsCostNoAllocation(t *testing.T) {
	u := parse(t, "/v1/charges/ch_123")
	if n := testing.AllocsPerRun(100, func() {
		if _, err := CanonicalPath(u, false); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/a%2fb", "/%2e%2e", "/a//b", "/a;b", "/a%5c", "/a%25", "/..;/x", "/ä", "/a%00", "/%"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, target string, keep bool) {
		u := parse(t, target)
		judged, err := CanonicalPath(u, keep)
		if err != nil {
			return
		}
		sent := u.EscapedPath()
		again, err := CanonicalPath(parse(t, sent), keep)
		if err != nil || again != judged {
			t.Errorf("%q is judged as %q, but what is sent, %q, would be judged as %q, %v", target, judged, sent, again, err)
		}
		// an upstream that decodes once, and cleans, stays below the base and sees the
		// same path
		decoded, err := url.PathUnescape("/v2" + sent)
		if err != nil {
			t.Fatalf("%q cannot be decoded", sent)
		}
		if cleaned := path.Clean(decoded); cleaned != strings.TrimSuffix(decoded, "/") && cleaned != decoded {
			t.Errorf("%q is %q to an upstream that cleans, %q to one that does not", target, cleaned, decoded)
		}
		if strings.ContainsAny(decoded, "\\\x00\r\n") {
			t.Errorf("%q lets through %q", target, decoded)
		}
	})
}

func FuzzDecide(f *testing.F) {
	f.Add("/admin", "/admin")
	f.Add("/ADMIN", "/%61dmin")
	f.Add("/ä", "/%C3%84")
	f.Fuzz(func(t *testing.T, pattern, target string) {
		if strings.ContainsAny(pattern, `*?[\`) || !strings.HasPrefix(pattern, "/") {
			return
		}
		s, err := Scope{Rules: []Rule{{Effect: Deny, Paths: []string{pattern}}}}.Compile(Env{})
		if err != nil {
			t.Fatal(err)
		}
		u := parse(t, target)
		judged, err := CanonicalPath(u, false)
		if err != nil {
			return
		}
		d := s.Decide(&Input{Method: "GET", Path: judged})
		if strings.EqualFold(judged, pattern) && d.Allowed {
			t.Errorf("%q is allowed although %q is denied", judged, pattern)
		}
	})
}
