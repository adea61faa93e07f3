package dpop

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestSameURL(t *testing.T) {
	same := func(htu, request string) { t.Helper(); requireSame(t, htu, request, true) }
	other := func(htu, request string) { t.Helper(); requireSame(t, htu, request, false) }

	// scheme and host
	same("https://h.example/a", "https h.example /a")
	same("HTTPS://H.Example/a", "https h.EXAMPLE /a")
	same("https://h.example:443/a", "https h.example /a")
	same("https://h.example/a", "https h.example:443 /a")
	same("https://h.example:/a", "https h.example /a")
	same("http://h.example:80/a", "http h.example /a")
	same("https://h.example:8443/a", "https h.example:8443 /a")
	same("https://[2001:DB8::1]/a", "https [2001:db8::1]:443 /a")
	same("https://[2001:db8::1]:8443/a", "https [2001:DB8::1]:8443 /a")
	same("http://127.0.0.1:8080/", "http 127.0.0.1:8080 /")
	same("https://under_score.example/", "https under_score.example /")
	other("http://h.example/a", "https h.example /a")
	other("https://h.example/a", "http h.example /a")
	other("http://h.example:443/a", "https h.example /a")
	other("https://h.example:80/a", "https h.example /a")
	other("https://h.example:8443/a", "https h.example /a")
	other("https://h.example:0443/a", "https h.example /a")
	other("https://h.example./a", "https h.example /a")
	other("https://h.example.org/a", "https h.example /a")
	other("https://evil.example/h.example/a", "https h.example /a")
	other("https://user@h.example/a", "https h.example /a")
	other("https://user:pass@h.example/a", "https h.example /a")
	other("https://h.example@evil.example/a", "https h.example /a")
	other(`https://h.example\@evil.example/a`, "https h.example /a")
	other("https://%68.example/a", "https h.example /a")
	other("https://h\u212a.example/a", "https hk.example /a") // the Kelvin sign
	other("https://h.example:8443:8443/a", "https h.example:8443 /a")
	other("https://[h.example]/a", "https h.example /a")
	other("https://[]/a", "https [] /a")
	other("https://[h]/a", "https [h] /a")
	other("https://h.example:x/a", "https h.example:x /a")
	other("https:///a", "https h.example /a")
	other("https:///a", "https  /a")
	other("https:/h.example/a", "https h.example /a")
	other("//h.example/a", "https h.example /a")
	other("h.example/a", "https h.example /a")
	other("wss://h.example/a", "wss h.example /a")
	other(" https://h.example/a", "https h.example /a")
	other("", "https h.example /a")

	// the path
	same("https://h.example", "https h.example /")
	same("https://h.example/", "https h.example ")
	same("https://h.example?q#f", "https h.example /")
	same("https://h.example/%7ea%2Db", "https h.example /~a-b")
	same("https://h.example/~a", "https h.example /%7Ea")
	same("https://h.example/%c3%a4", "https h.example /%C3%A4")
	same("https://h.example/ä|b", "https h.example /%C3%A4%7Cb")
	same("https://h.example/a%7cb", "https h.example /a|b")
	same("https://h.example/a;v=1,2/@me:x!$&'()*+", "https h.example /a;v=1,2/@me:x!$&'()*+")
	same("https://h.example/x/../a/./b", "https h.example /a/b")
	same("https://h.example/x/%2E%2e/a", "https h.example /a")
	same("https://h.example/a/b/..", "https h.example /a/")
	same("https://h.example/a/.", "https h.example /a/")
	same("https://h.example/../../a", "https h.example /a")
	same("https://h.example/..", "https h.example /")
	same("https://h.example/.a/..b/c.", "https h.example /.a/..b/c.")
	same("https://h.example//a//b", "https h.example //a//b")
	other("https://h.example/A", "https h.example /a")
	other("https://h.example/a/", "https h.example /a")
	other("https://h.example/a", "https h.example /a/")
	other("https://h.example/", "https h.example /a")
	other("https://h.example/a/b", "https h.example /a%2Fb")
	other("https://h.example/a%2fb", "https h.example /a/b")
	other("https://h.example/a+b", "https h.example /a%20b")
	other("https://h.example/a%3Bb", "https h.example /a;b")
	other("https://h.example/a%40b", "https h.example /a@b")
	other("https://h.example/a%252e", "https h.example /a.")
	other("https://h.example/%", "https h.example /%")
	other("https://h.example/%2", "https h.example /%2")
	other("https://h.example/%zz", "https h.example /%zz")
	other("https://h.example/%2%41", "https h.example /%2A")
	other("https://h.example//a", "https h.example /a")
	other("https://h.example/a", "https h.example a")
	other("https://h.example/a", "https h.example https://h.example/a")
	other("https://h.example/", "https h.example *")
	other("https://h.example/b", "https h.example /a/../b")
	other("https://h.example/a/../b", "https h.example /a/../b")
	other("https://h.example/b", "https h.example /a/%2e%2e/b")
	other("https://h.example/a", "https h.example /a#b")
	other(`https://h.example/a\b`, "https h.example /a/b")

	// query and fragment
	same("https://h.example/a?b=1", "https h.example /a?c=2")
	same("https://h.example/a#b", "https h.example /a?c")
	same("https://h.example/a?b/../#c?d", "https h.example /a")
	same("https://h.example/a", "https h.example /a??c")
	other("https://h.example/a%3Fb", "https h.example /a?b")
	other("https://h.example/a%23b", "https h.example /a")
}

// requireSame takes the request as scheme, host and path.
func requireSame(t *testing.T, htu, request string, want bool) {
	t.Helper()
	p := strings.SplitN(request, " ", 3)
	if got := sameURL(htu, Request{Scheme: p[0], Host: p[1], Path: p[2]}); got != want {
		t.Errorf("%q for %q: %v", htu, request, got)
	}
}

// FuzzSameURL holds sameURL against net/url: what is the same has the same scheme, host
// and decoded path, with the same slashes in it.
func FuzzSameURL(f *testing.F) {
	for _, s := range []string{"https://h.example:443/a/../%2e/b?c#d", "http://[::1]:80//%7e", "HTTPS://H/%C3%A4|ä", "https://h/a%2Fb", "https://h/.a/..", "https://u@h/", "https://h/%2%41"} {
		f.Add(s, "https", "h", "/b?x")
		f.Add(s, "http", "[::1]", "/a%2fb")
	}
	f.Fuzz(func(t *testing.T, htu, scheme, host, target string) {
		u, err := url.Parse(htu)
		r := Request{Scheme: scheme, Host: host, Path: target}
		if err == nil { // a request as such a client would send it
			own := Request{Scheme: u.Scheme, Host: u.Host, Path: u.EscapedPath()}
			if sameURL(htu, own) {
				requireEqualURL(t, htu, own)
			}
		}
		if sameURL(htu, r) {
			requireEqualURL(t, htu, r)
			u, _ := normalURL(r.Scheme, r.Host, strings.SplitN(r.Path, "?", 2)[0])
			if u.port != "" {
				u.host += ":" + u.port
			}
			if !sameURL(u.scheme+"://"+u.host+u.path, r) || !sameURL(htu, Request{Scheme: u.scheme, Host: u.host, Path: u.path}) {
				t.Errorf("the normal form of %q is not the same as it", htu)
			}
		}
	})
}

func requireEqualURL(t *testing.T, htu string, r Request) {
	t.Helper()
	target, _, _ := strings.Cut(r.Path, "?")
	a, err := url.Parse(htu)
	if err != nil {
		return // a fragment, mostly
	}
	b, err := url.ParseRequestURI(target)
	if target == "" {
		b, err = &url.URL{Path: "/"}, nil
	}
	if err != nil {
		t.Errorf("%q is the same as %q, which is no path: %v", htu, target, err)
		return
	}
	if !strings.EqualFold(a.Scheme, r.Scheme) || !strings.EqualFold(a.Hostname(), (&url.URL{Host: r.Host}).Hostname()) || a.User != nil {
		t.Errorf("%q is the same as %+v", htu, r)
	}
	slashes := func(u *url.URL) int { return strings.Count(clean(u.EscapedPath()), "/") }
	if clean(a.Path) != clean(b.Path) || !strings.Contains(htu, "/.") && slashes(a) != slashes(b) {
		t.Errorf("%q is the same as %q", htu, target)
	}
}

// clean is path.Clean that keeps the slash at the end; empty segments go, too, which is
// why it is for comparing alone.
func clean(p string) string {
	cleaned := path.Clean("/" + p)
	if cleaned != "/" && (strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")) {
		cleaned += "/"
	}
	return cleaned
}
