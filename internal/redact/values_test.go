package redact

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
)

const canary = `p&ss<w"rd\ näh/42`

func TestLineFindsASecretInEveryForm(t *testing.T) {
	n := New()
	release, held := n.AddSecret(canary)
	if !held {
		t.Fatal("not held")
	}
	inner, _ := json.Marshal(map[string]string{"v": canary})
	for name, value := range map[string]string{
		"plain":                   canary,
		"JSON in JSON":            string(inner),
		"query":                   url.QueryEscape(canary),
		"query in lower case":     lowerHex(url.QueryEscape(canary)),
		"path":                    url.PathEscape(canary),
		"base64":                  base64.StdEncoding.EncodeToString([]byte(canary)),
		"base64 behind one byte":  base64.StdEncoding.EncodeToString([]byte("u" + canary)),
		"base64 behind two bytes": base64.URLEncoding.EncodeToString([]byte("u:" + canary + "!")),
		"Basic":                   "Basic " + base64.StdEncoding.EncodeToString([]byte("svc-user:"+canary)),
		"twice":                   canary + canary,
		"behind a backslash":      `\` + canary + `\`,
		"behind a line feed":      "\n" + canary + "\n",
	} {
		for _, html := range []bool{true, false} {
			line := []byte(`{"a":"before ` + inJSON(value, html) + ` behind"}`)
			got := n.Line(line)
			var back struct{ A string }
			if err := json.Unmarshal(got, &back); err != nil {
				t.Errorf("%s: no JSON any more: %v: %s", name, err, got)
			}
			if !strings.HasPrefix(back.A, "before ") || !strings.HasSuffix(back.A, " behind") || !strings.Contains(back.A, Redacted) {
				t.Errorf("%s: %s", name, got)
			}
			for _, piece := range []string{"w\"rd", `w\"rd`, "42", "ss%3", base64Core(canary, 0)[4:12], base64Core(canary, 1)[4:12], base64Core(canary, 2)[4:12]} {
				if strings.Contains(string(got), piece) {
					t.Errorf("%s: leaks %q: %s", name, piece, got)
				}
			}
		}
	}
	release()
	if got := string(n.Line([]byte(canary))); got != canary {
		t.Errorf("still hidden after release: %s", got)
	}
}

func TestLineOfSecretsThatOverlap(t *testing.T) {
	n := New()
	for _, s := range []string{"sk_live_abcdefgh", "sk_live_abcdefgh-and-more", "abcdefgh-and"} {
		if _, held := n.AddSecret(s); !held {
			t.Fatalf("%q is not held", s)
		}
	}
	for in, want := range map[string]string{
		"<sk_live_abcdefgh>":          "<REDACTED>",
		"<sk_live_abcdefgh-and-more>": "<REDACTED>",
		"<abcdefgh-and-more>":         "<REDACTED-more>",
		"<sk_live_abcdefg>":           "<sk_live_abcdefg>",
		"sk_live_abcdefgh":            "REDACTED",
		"":                            "",
	} {
		if got := string(n.Line([]byte(in))); got != want {
			t.Errorf("Line(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSecretsThatCannotBeSearchedForAreRefused(t *testing.T) {
	n := New()
	for _, s := range []string{"", "short", "1234567", "123456789012", "-1.5e+1000"} {
		if _, held := n.AddSecret(s); held {
			t.Errorf("AddSecret(%q) says it is held", s)
		}
	}
	line := []byte(`{"n":123456789012}`)
	if got := n.Line(line); &got[0] != &line[0] {
		t.Errorf("Line changed %s", got)
	}
}

func TestSecretsAreBoundedAndCounted(t *testing.T) {
	n := New()
	var release []func()
	for i := range maxValues {
		r, held := n.AddSecret(fmt.Sprintf("a-secret-%07d", i))
		if !held {
			t.Fatalf("secret %d is not held", i)
		}
		release = append(release, r)
	}
	if _, held := n.AddSecret("one-too-many"); held {
		t.Error("there is no bound")
	}
	again, held := n.AddSecret("a-secret-0000007")
	if !held {
		t.Error("a known secret is refused when the table is full")
	}
	for _, r := range release { // far more than maxStale forms: the sieve is made anew
		r()
	}
	if got := string(n.Line([]byte("a-secret-0000007"))); got != Redacted {
		t.Errorf("lost a secret that has an owner: %s", got)
	}
	again()
	if n.values.sieve.Load() != nil {
		t.Error("the empty table still searches")
	}
}

func TestNothingPrintsWhatIsHeld(t *testing.T) {
	n := New()
	n.Add(Header, "X-Vendor-Token")
	n.AddSecret("c4n4ry-value")
	asJSON, err := json.Marshal(map[string]any{"names": n})
	if err != nil {
		t.Fatal(err)
	}
	internals := fmt.Sprintf("%#v %v", n.values.held, n.values.forms)
	for _, s := range []string{fmt.Sprint(n), fmt.Sprintf("%v %+v %#v %s %q %x", n, n, n, n, n, n), string(asJSON), internals} {
		if contains(s, "c4n4ry") || contains(s, "X-Vendor-Token") {
			t.Errorf("prints what it holds: %s", s)
		}
	}
}

func contains(s, sub string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(sub)) }

// line is about the size of one access log line.
var line = []byte(`{"level":"info","ts":1700000000.123,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"10.0.0.7","remote_port":"51234","client_ip":"10.0.0.7","proto":"HTTP/2.0","method":"POST","host":"gateway.example.com","uri":"/api/stripe-payment-api/v1/charges?limit=3","headers":{"User-Agent":["stripe-go/82"],"Content-Type":["application/x-www-form-urlencoded"],"Authorization":["REDACTED"]}},"bytes_read":120,"user_id":"research-agent","duration":0.012,"size":2312,"status":200,"resp_headers":{"Server":["Caddy"],"Content-Type":["application/json"]}}`)

func BenchmarkLine(b *testing.B) {
	for _, count := range []int{0, 1, 100, maxValues} {
		n := New()
		for i := range count {
			n.AddSecret(fmt.Sprintf("sk_live_%07d_%x", i, i*2654435761))
		}
		b.Run(fmt.Sprintf("%d secrets", count), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(line)))
			for b.Loop() {
				n.Line(line)
			}
		})
	}
}

func BenchmarkURI(b *testing.B) {
	n := New()
	b.ReportAllocs()
	for b.Loop() {
		n.URI("/api/stripe-payment-api/v1/charges?limit=3&starting_after=ch_123")
	}
}

func BenchmarkText(b *testing.B) {
	n := New()
	b.ReportAllocs()
	for b.Loop() {
		n.Text("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0")
	}
}

func TestAGuestsSecretIsOneAndNoFieldsName(t *testing.T) {
	n := New()
	for _, s := range []string{"client_ip", "/api/declared", "proxy-access-denied", "/api/declared/v1/charges", "2001:db8:85a3::8a2e:370:7334", "Mozilla/5.0 (X11; Linux x86_64",
		"ip-10-0-0-1.eu-west-1.example.com", "2026-11-26T22:54:00Z", "1234567890123456", "correct horse battery staple", "a1b2c3d4e5f6g7h"} {
		if _, held := n.AddGuestSecret(s); held {
			t.Errorf("%q is held", s)
		}
	}
	const secret = "request-id-5d1f3b7a9c2e4860"
	release, held := n.AddGuestSecret(secret)
	if !held {
		t.Fatal("not held")
	}
	base := base64.StdEncoding.EncodeToString([]byte("u:" + secret))
	for in, want := range map[string]string{
		`{"` + secret + `":"a ` + secret + ` b","c":["` + secret + `"]}`: `{"` + secret + `":"a REDACTED b","c":["REDACTED"]}`,
		`{"x` + secret + `y\"":1,"a":"{\"` + secret + `\":1}"}`:          `{"x` + secret + `y\"":1,"a":"{\"REDACTED\":1}"}`,
		`{"` + base + `":"Basic ` + base + `"}`:                          `{"` + base + `":"Basic REDACTED"}`,
		"info\tit is " + secret + "\t{\"" + secret + "\": \"b\"}":        "info\tit is REDACTED\t{\"" + secret + "\": \"b\"}",
		secret: Redacted,
	} {
		if got := string(n.Line([]byte(in))); got != want {
			t.Errorf("%s is\n%s, want\n%s", in, got, want)
		}
	}
	// of the configuration it is hidden everywhere
	operators, _ := n.AddSecret(secret)
	name := []byte(`{"` + secret + `":1}`)
	if got := string(n.Line(name)); got != `{"REDACTED":1}` {
		t.Errorf("got %s", got)
	}
	operators()
	if got := string(n.Line(name)); got != string(name) {
		t.Errorf("got %s", got)
	}
	release()
	if n.values.sieve.Load() != nil {
		t.Error("something is still looked for")
	}
}
