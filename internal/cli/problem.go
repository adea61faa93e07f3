package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"regexp"
	"strings"
)

// codeStillRunning is the code of a 409 that says that the first request with the same
// Idempotency-Key is still being worked on.
const codeStillRunning = "still-running"

// problem is an answer of the API that is no success (RFC 9457).
type problem struct {
	Status int    `json:"-"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	// Errors are the faults of a record.
	Errors []struct {
		Pointer   string `json:"pointer"`
		Parameter string `json:"parameter"`
		Detail    string `json:"detail"`
	} `json:"errors"`
	// Users are what a record is needed by.
	Users []struct {
		Kind string `json:"kind"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"users"`
	// Plain is the error of Caddy's own admin endpoint.
	Plain string `json:"error"`

	call call
}

// readProblem reads an answer that is no success.
func readProblem(res *http.Response, call call) error {
	p := &problem{Status: res.StatusCode, call: call}
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode/100 == 2 || json.Unmarshal(body, p) != nil {
		*p = problem{Status: res.StatusCode, call: call} // a page of a proxy in between, not ours
		if m := callbackPage.FindSubmatch(body); m != nil {
			p.Detail = html.UnescapeString(string(m[1]))
		}
	}
	return p
}

// callbackPage is the page that the API shows a browser that comes back without a consent.
var callbackPage = regexp.MustCompile(`<h1>Consent not received</h1>\s*<p>([^<]*)</p>`)

// isAbout reports whether a member of the body is at fault.
func (p *problem) isAbout(pointer string) bool {
	for _, e := range p.Errors {
		if e.Pointer == pointer {
			return true
		}
	}
	return false
}

// Error implements error: what is wrong, then one line for each fault and user, then what
// can be done.
func (p *problem) Error() string {
	var b strings.Builder
	b.WriteString(p.headline())
	for _, e := range p.Errors {
		place := cmp.Or(e.Pointer, e.Parameter, "the body")
		fmt.Fprintf(&b, "\n  %s: %s", printable(place), printable(e.Detail))
	}
	for _, u := range p.Users {
		fmt.Fprintf(&b, "\n  %s %s", printable(u.Kind), printable(cmp.Or(u.Name, u.ID)))
		if u.Name != "" && u.ID != "" {
			fmt.Fprintf(&b, " (%s)", printable(u.ID))
		}
	}
	if hint := p.hint(); hint != "" {
		b.WriteString("\n" + hint)
	}
	return b.String()
}

func (p *problem) headline() string {
	text := cmp.Or(p.Detail, p.Plain, p.Title)
	if p.Status >= http.StatusInternalServerError && p.Title != "" && p.Detail != "" {
		text = p.Title + ": " + p.Detail // what is said about it is not what it is
	}
	if text != "" {
		return fmt.Sprintf("%s (%d)", printable(text), p.Status)
	}
	return fmt.Sprintf("%s %s: %d %s", p.call.method, p.call.path, p.Status, http.StatusText(p.Status))
}

// hint says what to do, where the answer does not.
func (p *problem) hint() string {
	fromAPI := p.Title != "" || p.Detail != ""
	switch {
	case p.Status/100 == 2, p.Status == http.StatusNotFound && !fromAPI:
		return "what answers there has no management API: is the rr app configured, and --url or --address right?"
	case p.Status/100 == 3:
		return "the address is answered with a redirect, which is not followed: say the final one with --url"
	case p.Status == http.StatusUnauthorized:
		return "say who you are with --token-file or --token-env"
	case p.Status == http.StatusForbidden && !fromAPI:
		return "the address that is called has to be one of the origins that the admin endpoint allows"
	case p.Status == http.StatusConflict && len(p.Users) > 0 && p.call.method == http.MethodDelete && p.call.query.Get("force") == "":
		return "it goes nevertheless with --force, and what uses it then refuses requests"
	case p.Status == http.StatusPreconditionFailed:
		return "somebody has changed it since that version: look at it with get, then decide again"
	}
	return ""
}

// printable is a text of the API as a terminal may see it: one line, without characters
// that a terminal acts on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || (r >= 0x7f && r < 0xa0) || isBidi(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// isBidi reports whether a character changes the direction of text, which can make a line
// look like another (UAX 9).
func isBidi(r rune) bool {
	return r == 0x061c || (r >= 0x200e && r <= 0x200f) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069)
}
