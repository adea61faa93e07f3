package fetch

import (
	"net/url"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, good := range []string{
		"https://a.example", "https://a.example:8443/x?p=1", "https://10.0.0.1/", "https://[fd00::1]:8443/", "HTTPS://A.example/",
		"http://localhost:8080/x", "http://LOCALHOST", "http://127.0.0.1", "http://127.9.9.9:1", "http://[::1]:8080/",
	} {
		if _, err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, part := range map[string]string{
		"":                              "https://",
		"a.example":                     "https://",
		"/x":                            "https://",
		"ftp://a.example":               "https://",
		"file:///etc/passwd":            "https://",
		"https:a.example":               "no host",
		"https://":                      "no host",
		"https:///x":                    "no host",
		"https://:443/":                 "no host",
		"https://s3cret@a.example":      "user name",
		"https://u:s3cret@a.example":    "user name",
		"https://a.example/#x":          "fragment",
		"https://a.example/#":           "fragment",
		"http://a.example":              "https",
		"http://10.0.0.1":               "https",
		"http://localhost.example.com":  "https",
		"http://127.0.0.1.example.com":  "https",
		"http://0.0.0.0":                "https",
		"http://[::]":                   "https",
		"http://[::ffff:10.0.0.1]":      "https",
		"http://127.1":                  "https",
		"http://2130706433":             "https",
		"https://a.example:0":           "port",
		"https://a.example:65536":       "port",
		"https://a.example:":            "port",
		"https://a b":                   "not a URL",
		"https://a.example/\x00?s3cret": "not a URL",
		"https://a/" + strings.Repeat("x", maxURL): "at most",
	} {
		_, err := CheckURL(bad)
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", bad, err, part)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: the error tells %v", bad, err)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	for pair, want := range map[string]bool{
		"https://a.example https://A.example:443/x": true,
		"http://[::1] http://[::1]:80":              true,
		"https://a.example https://b.example":       false,
		"https://a.example https://a.example:444":   false,
		"https://localhost http://localhost":        false,
		"https://localhost http://localhost:443":    false,
		"https://a.example https://sub.a.example":   false,
	} {
		first, second, _ := strings.Cut(pair, " ")
		a, err := url.Parse(first)
		if err != nil {
			t.Fatal(err)
		}
		b, err := url.Parse(second)
		if err != nil {
			t.Fatal(err)
		}
		if SameOrigin(a, b) != want || SameOrigin(b, a) != want {
			t.Errorf("%s: want %v", pair, want)
		}
	}
}
