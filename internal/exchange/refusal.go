package exchange

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/metrics"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// The codes in RR-Proxy-Code and in the body's `code`; docs/answers.md says when.
const (
	CodeGranted        = metrics.Granted
	CodeDenied         = "proxy-access-denied"
	CodeNotVerified    = "not-verified"
	CodeHostNotAllowed = "host-not-allowed"
	CodeAddrNotAllowed = "address-not-allowed"
	CodeBadPath        = "bad-path"
	CodeMethodRefused  = "method-refused"
	CodeInactive       = "proxy-inactive"
	CodeIncomplete     = "proxy-incomplete"
	CodeThrottled      = "too-many-failures"
	CodeEarlyData      = "too-early"
	CodeLoop           = "loop-detected"
	CodeTargetFailed   = "target-credential-failed"
	CodeUnreachable    = "upstream-unreachable"
	CodeUnavailable    = "verification-unavailable"
)

// StatusClientClosed is the status by which Caddy logs that the caller went away.
const StatusClientClosed = 499

// titles are the codes in words: RR-Proxy-Message and the problem's title.
var titles = map[string]string{
	CodeGranted:        "Access granted",
	CodeDenied:         "Access denied",
	CodeNotVerified:    "The request was not verified",
	CodeHostNotAllowed: "The credential may not be sent to this host",
	CodeAddrNotAllowed: "The address may not be reached",
	CodeBadPath:        "The path is not acceptable",
	CodeMethodRefused:  "The method is not acceptable",
	CodeInactive:       "The proxy is not active",
	CodeIncomplete:     "The proxy lacks its target or a credential",
	CodeThrottled:      "Too many failed authentications",
	CodeEarlyData:      "The request came in early data",
	CodeLoop:           "The request comes back to the gateway again and again",
	CodeTargetFailed:   "The upstream's credential could not be obtained",
	CodeUnreachable:    "The upstream could not be reached",
	CodeUnavailable:    "The caller cannot be verified at the moment",
}

// Refusal is the decision not to forward a request: what the caller sees, and the
// reason that only the log sees. It is an error.
type Refusal struct {
	Status     int
	Code       string
	RetryAfter time.Duration // rounded up to seconds; 0 = no Retry-After
	Challenges []string      // WWW-Authenticate, one field each
	Header     http.Header   // more response headers
	Reason     error         // for the log; holds no secret
}

// Refuse makes a refusal.
func Refuse(status int, code string, reason error) *Refusal {
	return &Refusal{Status: status, Code: code, Reason: reason}
}

// Error implements error with what the caller may know; the reason is Unwrap's.
func (r *Refusal) Error() string { return r.Code }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

// Denial says which rule of a scope denied.
func Denial(d rule.Decision, scope string) error {
	switch {
	case d.Err != nil:
		return fmt.Errorf("%s: rule %d cannot be evaluated: %w", scope, d.Rule+1, d.Err)
	case d.Rule < 0:
		return fmt.Errorf("%s: no rule allows it", scope)
	case d.Note != "":
		return fmt.Errorf("%s: denied by rule %d (%s)", scope, d.Rule+1, d.Note)
	}
	return fmt.Errorf("%s: denied by rule %d", scope, d.Rule+1)
}

// Answers is how rr answers callers, an option of the rr app.
type Answers struct {
	// Pass hands refusals to Caddy's error routes instead of writing rr's own body.
	Pass bool

	code, message string
	foreign       [3]string
}

// DefaultPrefix is the prefix of rr's response headers.
const DefaultPrefix = "RR-Proxy"

// NewAnswers returns the answers whose headers are <prefix>-Code, -Message, -Warning;
// an empty prefix is DefaultPrefix.
func NewAnswers(prefix string, pass bool) (*Answers, error) {
	if prefix == "" {
		prefix = DefaultPrefix
	}
	prefix = strings.TrimSuffix(prefix, "-")
	for _, c := range []byte(prefix) {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return nil, fmt.Errorf("%q is not a header name prefix: letters, digits and hyphens only", prefix)
		}
	}
	name := func(s string) string { return http.CanonicalHeaderKey(prefix + s) }
	return &Answers{
		Pass: pass, code: name("-Code"), message: name("-Message"),
		foreign: [3]string{name("-Code"), name("-Message"), name("-Warning")},
	}, nil
}

// DropForeign removes headers from an upstream's response that look like rr's own.
func (a *Answers) DropForeign(h http.Header) {
	for _, name := range a.foreign {
		delete(h, name)
	}
}

// Grant marks the response as the upstream's own.
func (x *Exchange) Grant(h http.Header) {
	x.Decision = CodeGranted
	x.code[0], x.message[0] = CodeGranted, titles[CodeGranted]
	h[x.Answers.code], h[x.Answers.message] = x.code[:], x.message[:]
}

// SetHeaders sets the headers of a refusal: what it is, challenges, Retry-After. They
// stand also when the body is left to Caddy's error routes.
func (a *Answers) SetHeaders(h http.Header, r *Refusal) {
	h[a.code], h[a.message] = []string{r.Code}, []string{titles[r.Code]}
	if len(r.Challenges) > 0 {
		h["Www-Authenticate"] = r.Challenges
	}
	maps.Copy(h, r.Header)
	if r.RetryAfter > 0 {
		seconds := int64((r.RetryAfter + time.Second - 1) / time.Second)
		h["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
	}
	if r.Status == http.StatusMethodNotAllowed {
		// RFC 9110 section 15.5.6 wants Allow; which methods a proxy's rules let through
		// is not told to callers, so the list is what rr itself never refuses.
		h["Allow"] = []string{"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	h["Cache-Control"] = []string{"no-store"}
}

// problem is the body, RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
}

// Write answers with the refusal, headers and body.
func (a *Answers) Write(w http.ResponseWriter, r *http.Request, ref *Refusal) error {
	h := w.Header()
	a.SetHeaders(h, ref)
	CloseUnread(h, r)
	body, err := json.Marshal(problem{"about:blank", titles[ref.Code], ref.Status, ref.Code})
	if err != nil {
		return err
	}
	h["Content-Type"] = []string{"application/problem+json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(ref.Status)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = w.Write(body)
	return err
}

// CloseUnread has the connection closed after an answer that leaves the body of an
// Expect: 100-continue request unread; the server would otherwise wait for that body.
func CloseUnread(h http.Header, r *http.Request) {
	if r.ProtoMajor == 1 && r.ContentLength != 0 && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		h["Connection"] = []string{"close"}
	}
}
