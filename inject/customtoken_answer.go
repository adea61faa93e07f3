package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/inject/token"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/rule"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// TokenIn is where an answer has the token: exactly one of these.
type TokenIn struct {
	// A JSONPath (RFC 9535) to it in the answer's JSON.
	Path string `json:"path,omitempty"`
	// The answer's header that it is.
	Header string `json:"header,omitempty"`
	// The cookie that it is. Its Max-Age or Expires say how long it is good for, if
	// nothing else does.
	Cookie string `json:"cookie,omitempty"`
	// The whole body is the token, without white space around it.
	Body bool `json:"body,omitempty"`
}

// Success is what an answer has to have.
type Success struct {
	// A JSONPath to a value that is there, and is neither null nor false.
	Path string `json:"path,omitempty"`
	// What the value has to be, as text. Default: anything.
	Value string `json:"value,omitempty"`
}

// tokenAnswer reads a token out of an answer. It never changes.
type tokenAnswer struct {
	in                         TokenIn
	path, success, inSec, when *rule.JSONPath // nil: not asked for
	equals                     string
	ttl                        time.Duration
	names                      map[*rule.JSONPath]string
}

// maxTokenSize is the size of the largest token, in bytes.
const maxTokenSize = jose.MaxToken

// newTokenAnswer checks where an answer has what.
func newTokenAnswer(c *CustomToken) (*tokenAnswer, error) {
	a := &tokenAnswer{in: c.Token, ttl: time.Duration(c.TTL), names: map[*rule.JSONPath]string{}}
	said := 0
	for _, there := range []bool{a.in.Path != "", a.in.Header != "", a.in.Cookie != "", a.in.Body} {
		if there {
			said++
		}
	}
	switch {
	case said == 0:
		return nil, errors.New("token is missing: where does the answer have it? token $.access_token, token header <name>, token cookie <name> or token body")
	case said > 1:
		return nil, errors.New("token is at one place: path, header, cookie or body")
	case a.in.Header != "" && !httpguts.ValidHeaderFieldName(a.in.Header):
		return nil, fmt.Errorf("token: %q is not a header name", a.in.Header)
	case c.ExpiresIn != "" && c.ExpiresAt != "":
		return nil, errors.New("expires_in and expires_at exclude each other")
	}
	if c.Success != nil {
		if c.Success.Path == "" {
			return nil, errors.New("success needs a JSONPath")
		}
		a.equals = c.Success.Value
		if err := a.parse("success", c.Success.Path, &a.success); err != nil {
			return nil, err
		}
	}
	for _, o := range []struct {
		option, text string
		to           **rule.JSONPath
	}{{"token", c.Token.Path, &a.path}, {"expires_in", c.ExpiresIn, &a.inSec}, {"expires_at", c.ExpiresAt, &a.when}} {
		if o.text == "" {
			continue
		}
		if err := a.parse(o.option, o.text, o.to); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (a *tokenAnswer) parse(option, text string, to **rule.JSONPath) error {
	path, err := rule.ParseJSONPath(text)
	if err != nil {
		return fmt.Errorf("%s: %w", option, err)
	}
	*to, a.names[path] = path, text
	return nil
}

// read takes the token out of an answer to a request that was sent at began. Errors hold
// nothing of the answer but its status.
func (a *tokenAnswer) read(res *fetch.Response, began time.Time) (t token.Token, err error) {
	if res.Status < 200 || res.Status > 299 {
		refused := oauth.FailureOf(res)
		refused.Code = "" // of any endpoint it may be anything
		return t, &token.Failure{Err: refused, Permanent: isPermanent(res.Status), RetryAfter: refused.Wait}
	}
	var doc any
	if a.path != nil || a.success != nil || a.inSec != nil || a.when != nil {
		if doc, err = strictjson.Decode(res.Body, strictjson.Options{}); err != nil {
			return t, fmt.Errorf("the answer: %w", err)
		}
	}
	if err := a.succeeded(doc); err != nil {
		return t, err
	}
	var life time.Duration
	if t.Value, life, err = a.find(res, doc); err != nil {
		return t, fmt.Errorf("token: %w", err)
	}
	if len(t.Value) > maxTokenSize {
		return t, fmt.Errorf("token: it is larger than %d bytes", maxTokenSize)
	}
	t.Obtained = began
	t.Expires = a.ends(doc, began, life)
	return t, nil
}

// isPermanent tells whether the same request will be refused again.
func isPermanent(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status < 500
}

func (a *tokenAnswer) succeeded(doc any) error {
	if a.success == nil {
		return nil
	}
	v, err := a.one(doc, a.success)
	switch {
	case err != nil:
		return fmt.Errorf("success: %w", err)
	case a.equals != "" && rule.Text(v) != a.equals:
		return fmt.Errorf("success: the value at %s is another than the one of a success", a.names[a.success])
	case a.equals == "" && (v == nil || v == false):
		return fmt.Errorf("success: the value at %s is null or false", a.names[a.success])
	}
	return nil
}

// one selects a value of which there is exactly one.
func (a *tokenAnswer) one(doc any, path *rule.JSONPath) (any, error) {
	found, err := path.Select(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.names[path], err)
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("there is nothing at %s in the answer", a.names[path])
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("there are %d values at %s in the answer", len(found), a.names[path])
}

// find returns the token, and its life if its place tells it.
func (a *tokenAnswer) find(res *fetch.Response, doc any) (value string, life time.Duration, err error) {
	switch {
	case a.path != nil:
		value, err = a.text(doc)
	case a.in.Header != "":
		value, err = onlyHeader(res.Header, a.in.Header)
	case a.in.Cookie != "":
		value, life, err = lastCookie(res.Header, a.in.Cookie)
	default:
		value = strings.TrimSpace(string(res.Body))
	}
	if err == nil && strings.TrimSpace(value) == "" {
		err = errors.New("it is empty")
	}
	return value, life, err
}

func (a *tokenAnswer) text(doc any) (string, error) {
	v, err := a.one(doc, a.path)
	if err != nil {
		return "", err
	}
	if text, ok := v.(string); ok {
		return text, nil
	}
	return "", fmt.Errorf("the value at %s is %s, not a text", a.names[a.path], kindOf(v))
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "a list"
	}
	return "an object"
}

func onlyHeader(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 0:
		return "", fmt.Errorf("the answer has no header %s", name)
	case 1:
		return values[0], nil
	default:
		return "", fmt.Errorf("the answer has %d headers %s", len(values), name)
	}
}

// lastCookie is what a browser would keep of the answer's cookies (RFC 6265 section 5.3):
// of several with one name the last.
func lastCookie(h http.Header, name string) (value string, life time.Duration, err error) {
	var last *http.Cookie
	for _, c := range (&http.Response{Header: h}).Cookies() {
		if c.Name == name {
			last = c
		}
	}
	switch {
	case last == nil:
		return "", 0, fmt.Errorf("the answer sets no cookie %s", name)
	case last.MaxAge < 0, last.MaxAge == 0 && !last.Expires.IsZero() && !last.Expires.After(time.Now()):
		return "", 0, fmt.Errorf("the answer deletes the cookie %s", name)
	case last.MaxAge > 0:
		return last.Value, seconds(float64(last.MaxAge)), nil
	case !last.Expires.IsZero():
		return last.Value, time.Until(last.Expires), nil
	}
	return last.Value, 0, nil
}

// ends is when the token ends; zero if nobody says, which is 5 minutes from now.
func (a *tokenAnswer) ends(doc any, began time.Time, life time.Duration) time.Time {
	switch {
	case a.inSec != nil:
		if v, err := a.one(doc, a.inSec); err == nil {
			if n, ok := number(v); ok && n >= 1 {
				return began.Add(seconds(n))
			}
		}
	case a.when != nil:
		if v, err := a.one(doc, a.when); err == nil {
			if at := instant(v); at.After(began) {
				return at
			}
		}
	}
	switch {
	case a.ttl > 0:
		return began.Add(a.ttl)
	case life > 0:
		return began.Add(life)
	}
	return time.Time{}
}

var digits = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// number reads a number, or a text that is one: some endpoints quote them. A huge one is
// infinite.
func number(v any) (float64, bool) {
	var text string
	switch v := v.(type) {
	case json.Number:
		text = v.String()
	case string:
		if text = strings.TrimSpace(v); !digits.MatchString(text) {
			return 0, false
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil || errors.Is(err, strconv.ErrRange)
}

// seconds is a duration of at most a year.
func seconds(n float64) time.Duration {
	return time.Duration(min(n, 365*24*3600) * float64(time.Second))
}

// manySeconds is where a time of today counts milliseconds.
const manySeconds = 1e11

// instant reads a time; what is none is the zero time.
func instant(v any) time.Time {
	if n, ok := number(v); ok && n > 0 && n < 1e15 {
		if n >= manySeconds {
			n /= 1000
		}
		return time.Unix(int64(n), 0)
	}
	if text, ok := v.(string); ok {
		if at, err := time.Parse(time.RFC3339, strings.TrimSpace(text)); err == nil {
			return at
		}
	}
	return time.Time{}
}
