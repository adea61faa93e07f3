package oauth

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// FuzzReturn holds of every query that a browser may bring back that a code is taken only
// with the state that was given out, from the issuer that was asked, in time, and once; and
// that no error quotes the state, the verifier or a code.
func FuzzReturn(f *testing.F) {
	for _, query := range []string{
		"state=the-state&code=c0de", "state=the-state&code=c0de&iss=https%3A%2F%2Fissuer.example", "state=the-state&error=access_denied",
		"code=c0de", "state=&code=c0de", "state=the-state", "state=the-state&state=the-state&code=c0de", "state=the-state&code=a&code=b",
		"state=the-state&code=c0de&iss=https%3A%2F%2Fevil.example", "state=the-state&error=%0d%0aSet-Cookie%3a+x", "state=the-stat&code=c0de",
		"state=the-state&code=c0de&iss=", "state=the-state;code=c0de", "%zz",
	} {
		f.Add(query, "https://issuer.example", true, int64(60))
		f.Add(query, "", false, int64(601))
	}
	start := time.Unix(1_800_000_000, 0)
	f.Fuzz(func(t *testing.T, text, issuer string, said bool, after int64) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return // net/http gives a handler no such query
		}
		c := &Consent{State: "the-state", Verifier: "the-verifier", Issuer: issuer, IssuerSaid: said, Expires: start.Add(consentLife)}
		now := start.Add(time.Duration(after%100_000) * time.Second)
		code, err := c.Accept(query, now)
		if err != nil {
			for _, secret := range []string{"the-state", "the-verifier"} {
				if strings.Contains(err.Error(), secret) && !strings.Contains(query.Get("error"), secret) {
					t.Errorf("the error quotes: %v", err)
				}
			}
			if code != "" {
				t.Errorf("a code with an error: %v", err)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00") || len(err.Error()) > 500 {
				t.Errorf("the error is %q", err)
			}
			return
		}
		iss := query["iss"]
		switch {
		case code == "" || len(query["code"]) != 1 || query.Get("code") != code:
			t.Errorf("code %q of %q", code, text)
		case len(query["state"]) != 1 || query.Get("state") != "the-state" || query.Has("error"):
			t.Errorf("%q is taken", text)
		case now.After(c.Expires):
			t.Errorf("it is taken at %v", now)
		case said && (len(iss) != 1 || iss[0] == ""), issuer != "" && len(iss) > 0 && iss[0] != "" && iss[0] != issuer:
			t.Errorf("from the issuer %q it is taken, asked was %q", iss, issuer)
		}
	})
}

// FuzzRetryAfter holds that an endpoint's word is a number of seconds, or none.
func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"", "0", "30", "-1", "1e9", "4294967295", "4294967296", "99999999999999999999", "Fri, 27 Nov 2026 01:00:00 GMT", " 5", "+5", "0x5", "5\r\nX: y"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := retryAfter(http.Header{"Retry-After": {text}})
		if d < 0 || d > longestWait || d%time.Second != 0 || d > 0 && strings.Trim(text, "0123456789") != "" {
			t.Errorf("%q is %v", text, d)
		}
	})
}
