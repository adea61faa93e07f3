package rule

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
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
	for _, u := range []*url.URL{
		{}, {Path: "*"}, {Path: "a"}, {Path: "/a", RawPath: "/b"}, {Path: "/a/b", RawPath: "/a%2Fb%"},
		{Path: "/a/b", RawPath: "/a/c%2F"}, {Path: "/a", Opaque: "//other.test/x"},
	} {
		for _, keep := range []bool{false, true} {
			if got, err := CanonicalPath(u, keep); !errors.Is(err, ErrBadPath) {
				t.Errorf("%#v (keep %v) became %q, %v", u, keep, got, err)
			}
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
		if !keep && judged != u.Path {
			t.Errorf("%q is judged as %q", target, judged)
		}
		// upstreams that decode once, then cut parameters off segments or not, and clean:
		// none leaves the base, and none sees another path
		decoded, err := url.PathUnescape("/v2" + sent)
		if err != nil {
			t.Fatalf("%q cannot be decoded", sent)
		}
		cleaned := path.Clean(decoded)
		if strings.HasSuffix(decoded, "/") {
			cleaned += "/"
		}
		if cleaned != decoded || !strings.HasPrefix(decoded, "/v2/") {
			t.Errorf("%q is %q to an upstream that cleans, %q to one that does not", target, cleaned, decoded)
		}
		for segment := range strings.SplitSeq(decoded, "/") {
			if name, _, _ := strings.Cut(segment, ";"); name == "." || name == ".." {
				t.Errorf("%q has a dot segment once its parameters are cut off", target)
			}
		}
		for i := range len(decoded) {
			if c := decoded[i]; c == '\\' || c < 0x20 || c == 0x7f {
				t.Errorf("%q lets through %q", target, decoded)
			}
		}
	})
}

// respell writes a path with other cases and percent-encodings, as the bits of how say.
func respell(p string, how uint64) string {
	var b strings.Builder
	next := func() bool { how = how*6364136223846793005 + 1442695040888963407; return how>>63 == 1 }
	for _, r := range p {
		for next() {
			r = unicode.SimpleFold(r)
		}
		for _, c := range []byte(string(r)) {
			switch {
			case c == '/', next() && c < 0x80 && url.PathEscape(string(rune(c))) == string(rune(c)):
				b.WriteByte(c)
			case next():
				fmt.Fprintf(&b, "%%%02x", c)
			default:
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	return b.String()
}

func FuzzDecide(f *testing.F) {
	for _, s := range []string{"/admin", "/v1/charges/ch_1", "/ä/ß/ſ", "/K/Å", "/a b/%", "/İ/ı"} {
		f.Add(s, uint64(1))
		f.Add(s, uint64(0xdeadbeef))
	}
	f.Fuzz(func(t *testing.T, denied string, how uint64) {
		if !utf8.ValidString(denied) {
			return // a rule comes from JSON or a Caddyfile, which are UTF-8
		}
		s, err := Scope{Default: Allow, Rules: []Rule{
			{Effect: Allow, Paths: []string{"*"}}, {Effect: Deny, Paths: []string{denied}},
		}}.Compile(Env{})
		if err != nil {
			return // no rule has this path
		}
		for _, target := range []string{denied, respell(denied, how)} {
			u, err := url.ParseRequestURI(target)
			if err != nil {
				continue
			}
			judged, err := CanonicalPath(u, false)
			if err != nil {
				continue
			}
			d := s.Decide(&Input{Method: "GET", Path: judged})
			if strings.EqualFold(judged, denied) && !strings.ContainsAny(denied, `*?[\`) && d.Allowed {
				t.Errorf("%q, judged as %q, is allowed although %q is denied", target, judged, denied)
			}
		}
	})
}
