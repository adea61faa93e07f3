package redact

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestURI(t *testing.T) {
	n := New()
	defer n.Add(Query, "hapi-key")()
	defer n.Add(Cookie, "sid")()
	for name, c := range map[string]struct{ in, want string }{
		"nothing to hide stays":                {"/v1/charges?limit=3&starting_after=ch_1", "/v1/charges?limit=3&starting_after=ch_1"},
		"a named parameter goes":               {"/v1?access_token=s3cret&a=b", "/v1?access_token=REDACTED&a=b"},
		"a registered parameter goes":          {"/v1?a=b&hapi-key=s3cret", "/v1?a=b&hapi-key=REDACTED"},
		"in any letter case":                   {"/?Access_TOKEN=s3cret", "/?Access_TOKEN=REDACTED"},
		"with the separators mixed up":         {"/?access-token=s3cret&hapi_key=s3cret", "/?access-token=REDACTED&hapi_key=REDACTED"},
		"with an encoded name":                 {"/?acc%65ss%5ftoken=s3cret&x=%20", "/?acc%65ss%5ftoken=REDACTED&x=%20"},
		"with blanks around the name":          {"/?+access_token%20=s3cret", "/?+access_token%20=REDACTED"},
		"as an array":                          {"/?access_token[]=s3cret&access_token%5B0%5D=s3cret", "/?access_token[]=REDACTED&access_token%5B0%5D=REDACTED"},
		"behind a semicolon":                   {"/?a=1;access_token=s3cret;b=2", "/?a=1;access_token=REDACTED"},
		"with a semicolon in the value":        {"/?access_token=s3;cret&b=2", "/?access_token=REDACTED&b=2"},
		"in the fragment":                      {"https://app/cb#access_token=s3cret&state=7", "https://app/cb#access_token=REDACTED&state=7"},
		"twice":                                {"/?key=s3cret&key=s3cret", "/?key=REDACTED&key=REDACTED"},
		"with equals signs in the value":       {"/?key=s3c==ret=&b", "/?key=REDACTED&b"},
		"with quotes and blanks in the value":  {`/?key=s3"c ret&b`, `/?key=REDACTED&b`},
		"an empty value stays":                 {"/?key=&b=1", "/?key=&b=1"},
		"a longer name stays":                  {"/?monkey=1&keys=2&key_id=3", "/?monkey=1&keys=2&key_id=3"},
		"a bare query":                         {"key=s3cret&b=1", "key=REDACTED&b=1"},
		"a URL inside a parameter":             {"/?next=https%3A%2F%2Fx%2F%3Faccess_token%3Ds3cret&b=1", "/?next=REDACTED&b=1"},
		"a URL inside a URL inside":            {"/?n=" + url.QueryEscape("https://x/?m="+url.QueryEscape("https://y/?key=s3cret")), "/?n=REDACTED"},
		"an encoded URL in the path":           {"/proxy/https%3A%2F%2Fx%3Fkey%3Ds3cret?a=1", "REDACTED?a=1"},
		"an encoded value without secrets":     {"/?q=a%20b%26c%3Dd", "/?q=a%20b%26c%3Dd"},
		"more layers of encoding than we read": {"/?q=" + layers(`s3cret`, 7) + "&b=1", "/?q=REDACTED&b=1"},
		"a password in the authority":          {"redis://me:s3cret@db:6379/0", "redis://me:REDACTED@db:6379/0"},
		"a token in the authority":             {"https://s3cret@github.com/x", "https://REDACTED@github.com/x"},
		"a registered cookie as a parameter":   {"/?sid=s3cret", "/?sid=REDACTED"},
	} {
		if got := n.URI(c.in); got != c.want {
			t.Errorf("%s: URI(%q) = %q, want %q", name, c.in, got, c.want)
		}
		if got := n.URI(c.want); got != c.want {
			t.Errorf("%s: URI changes its own result to %q", name, got)
		}
	}
}

// layers percent-encodes a query with s again and again.
func layers(s string, depth int) string {
	s = "?key=" + s
	for range depth {
		s = url.QueryEscape(s)
	}
	return s
}

func TestText(t *testing.T) {
	n := New()
	defer n.Add(Header, "X-Vendor-Token")()
	defer n.Add(Query, "hapikey")()
	for name, c := range map[string]struct{ in, want string }{
		"prose stays":                   {"authorization: the header is missing", "authorization: the header is missing"},
		"a status code stays":           {"dial tcp 10.0.0.1:443: exit code=4", "dial tcp 10.0.0.1:443: exit code=4"},
		"a URL in an error":             {`Get "https://x/y?access_token=s3cret&b=1": EOF`, `Get "https://x/y?access_token=REDACTED&b=1": EOF`},
		"a weak name in a URL":          {`Get "https://x/y?key=s3cret": EOF`, `Get "https://x/y?key=REDACTED": EOF`},
		"a URL in JSON":                 {`{"u":"https://x/y?key=s3cret","b":1}`, `{"u":"https://x/y?key=REDACTED","b":1}`},
		"a form body":                   {"grant_type=password&client_secret=s3cret&hapikey=s3cret", "grant_type=password&client_secret=REDACTED&hapikey=REDACTED"},
		"a JSON member":                 {`{"access_token":"s3c\"ret","expires_in":3600}`, `{"access_token":"REDACTED","expires_in":3600}`},
		"a JSON member with blanks":     {`{"access_token" : "s3cret" }`, `{"access_token" : "REDACTED" }`},
		"JSON in JSON":                  {`body: {\"access_token\":\"s3cret\",\"a\":1}`, `body: {\"access_token\":\"REDACTED\",\"a\":1}`},
		"a printed http.Header":         {"map[Authorization:[Bearer s3cret] X-Vendor-Token:[s3cret] A:[b]]", "map[Authorization:[REDACTED] X-Vendor-Token:[REDACTED] A:[b]]"},
		"a dumped request":              {"GET / HTTP/1.1\r\nAuthorization: Basic czNjcmV0\r\nx-vendor-token: s3cret1\r\nA: b", "GET / HTTP/1.1\r\nAuthorization: REDACTED\r\nx-vendor-token: REDACTED\r\nA: b"},
		"a cookie among others":         {"password=s3cret; Path=/", "password=REDACTED; Path=/"},
		"a quoted value":                {`token refused, client_secret="s3 cret" given`, `token refused, client_secret=REDACTED given`},
		"a percent sign without a code": {"100% = all", "100% = all"},
		"a percent sign behind a hit":   {"X-Vendor-Token:[s3cret]%41%3d", "X-Vendor-Token:[REDACTED]%41%3d"},
		"only a path":                   {`/x?key=s3"cret`, `/x?key=REDACTED`},
		"encoded words in prose":        {"bad redirect https%3A%2F%2Fx%2F%3Fkey%3Ds3cret given", "bad redirect REDACTED given"},
	} {
		if got := n.Text(c.in); got != c.want {
			t.Errorf("%s: Text(%q) = %q, want %q", name, c.in, got, c.want)
		}
	}
}

func TestTimeGrowsWithTheLengthAndNotItsSquare(t *testing.T) {
	n := New()
	for _, piece := range []string{
		"=", "%41", "%", "%2525252525", "a%=", "a%41=", "a:", "://", "a://b@", "key=a&", `secret:"`, `secret:\"`,
		"secret:[", `"secret" : x `, "%41%3D%26", " ", ": ", `\`, "&a=%41:", "?next=%2541%253D",
	} {
		long := strings.Repeat(piece, 1<<20/len(piece))
		began := time.Now()
		n.URI(long)
		n.Text(long)
		n.Text("x " + long)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("three passes over 1 MiB of %q took %v", piece, took)
		}
	}
}

// FuzzURI puts a secret under a sensitive name among two other parameters.
func FuzzURI(f *testing.F) {
	f.Add("access_token", "c4n4ry-s3cret", "/v1/x", "limit", "10")
	f.Add("acc%65ss_token", "c4n4ry;a=b#c?d", "https://h/p", "q", "a b&c=d")
	f.Add("X-Api-Key", "c4n4ry\"<> ", "", "next", "https://x/?y=z")
	n := New()
	f.Fuzz(func(t *testing.T, name, value, path, other, otherValue string) {
		plain := unescape(name)
		if n.current.Load().class(plain) == 0 || strings.ContainsAny(name, "=&") || strings.ContainsAny(plain, "?&;#= \t\r\n\"'<>`,({/:") {
			return // not a sensitive name
		}
		value = strings.ReplaceAll(value, "&", "")
		if value == "" || strings.ContainsAny(path, "&=%") {
			return // no value, or a path that is more than that
		}
		secret := "c4n4ry" + value
		rest := "&" + url.QueryEscape(other) + "=" + url.QueryEscape(otherValue)
		got := n.URI(path + "?" + name + "=" + secret + rest)
		if strings.Contains(got, "c4n4ry") && !strings.Contains(path+rest, "c4n4ry") {
			t.Fatalf("URI leaks %q: %q", secret, got)
		}
		if !strings.Contains(got, "?"+name+"=REDACTED&") {
			t.Fatalf("URI does not keep the name: %q", got)
		}
		if n.URI(rest) == rest && n.URI("?"+rest) == "?"+rest && !strings.HasSuffix(got, rest) {
			t.Fatalf("URI does not keep %q: %q", rest, got)
		}
		if again := n.URI(got); again != got {
			t.Fatalf("URI changes its own result %q to %q", got, again)
		}
	})
}

// FuzzText looks for panics and for results that are not stable.
func FuzzText(f *testing.F) {
	f.Add("X-Api-Key:[s3cret]%41%3d; password=\"a b\" Authorization: Bearer x")
	f.Add(`{\"secret\":\"x%`)
	n := New()
	f.Fuzz(func(t *testing.T, s string) {
		if once := n.Text(s); len(once) > len(s)+len(s)*len(Redacted) {
			t.Fatalf("Text(%q) grew to %d bytes", s, len(once))
		}
	})
}
