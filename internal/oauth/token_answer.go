package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

const (
	// maxTokenAnswer bounds a token endpoint's answer in bytes.
	maxTokenAnswer = 128 << 10
	// longestLife is what a token's life is believed to be at most.
	longestLife = 10 * 365 * 24 * time.Hour
)

// AccessToken is what a token endpoint gives (RFC 6749 section 5.1, RFC 8693 section
// 2.2.1).
type AccessToken struct {
	// Value is the access token: visible ASCII, not empty.
	Value string
	// Type is the token_type. A missing one, and any writing of it, is Bearer.
	Type string
	// Life is for how long the token is good; zero if the answer does not say.
	Life time.Duration
	// Refresh is the refresh token, empty if there is none.
	Refresh string
}

// Format keeps the token out of whatever prints it.
func (t *AccessToken) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s token", t.Type) }

// provenTypes are types of tokens that a request cannot carry alone: it has to be signed
// with a key (RFC 9449, the drafts for MAC and PoP), or it is no access token at all
// (N_A, RFC 8693 section 2.2.1).
var provenTypes = map[string]bool{"dpop": true, "mac": true, "pop": true, "hok": true, "n_a": true}

// Scheme is the authentication scheme for the token in Authorization: its type.
func (t *AccessToken) Scheme() (string, error) {
	if provenTypes[strings.ToLower(t.Type)] {
		return "", fmt.Errorf("the token has the type %s, which a request cannot carry as it is", t.Type)
	}
	return t.Type, nil
}

// ReadToken reads a token endpoint's answer: a token with any status of success, else a
// *Failure. Errors quote nothing of the answer but an error code and words of the
// protocol.
func ReadToken(res *fetch.Response) (*AccessToken, error) {
	if res.Status < 200 || res.Status > 299 {
		return nil, tokenFailure(res)
	}
	answer, err := tokenMembers(res)
	if err != nil {
		return nil, err
	}
	if _, there := answer["access_token"]; !there && answer["error"] != nil {
		return nil, tokenFailure(res) // as GitHub does
	}
	t := &AccessToken{Life: life(answer["expires_in"])}
	if t.Value, err = tokenText(answer, "access_token"); err != nil {
		return nil, err
	}
	if t.Value == "" {
		return nil, errors.New("the endpoint's answer has no access_token")
	}
	if t.Refresh, err = tokenText(answer, "refresh_token"); err != nil {
		return nil, err
	}
	if t.Type, err = tokenType(answer["token_type"]); err != nil {
		return nil, err
	}
	return t, nil
}

// tokenMembers are the answer's members. They are JSON; some endpoints answer with a form
// when they think that nobody wants JSON.
func tokenMembers(res *fetch.Response) (map[string]any, error) {
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	text := strings.TrimSpace(string(res.Body))
	switch {
	case text == "":
		return nil, errors.New("the endpoint's answer is empty")
	case text[0] == '{':
		return Object(res)
	case media == "application/x-www-form-urlencoded" || media == "text/plain":
		return formMembers(text)
	case strings.Contains(media, "html") || text[0] == '<':
		return nil, errors.New("the endpoint's answer is a web page, not JSON: is it the right URL?")
	}
	return Object(res)
}

// formMembers reads a form as strictly as JSON is read.
func formMembers(text string) (map[string]any, error) {
	values, err := url.ParseQuery(text)
	if err != nil { // whose text quotes it
		return nil, errors.New("the endpoint's answer is neither JSON nor a form")
	}
	answer := make(map[string]any, len(values))
	for name, list := range values {
		if len(list) > 1 {
			return nil, errors.New("the endpoint's answer: it has a member twice")
		}
		answer[name] = list[0]
	}
	return answer, nil
}

// tokenFailure is FailureOf for answers that may be forms.
func tokenFailure(res *fetch.Response) *Failure {
	f := FailureOf(res)
	if f.Code == "" {
		if answer, err := tokenMembers(res); err == nil {
			if text, ok := answer["error"].(string); ok && code.MatchString(text) {
				f.Code = text
			}
		}
	}
	return f
}

// Permanent reports whether the same request would fail again: the endpoint has
// understood it and said no.
func (f *Failure) Permanent() bool {
	switch f.Code {
	case "temporarily_unavailable", "server_error", "slow_down":
		return false
	}
	switch f.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return f.Status < 500
}

// tokenText reads a token, empty if it is not there. Tokens are visible ASCII (RFC 6749
// appendix A.12); anything else could not be sent on.
func tokenText(answer map[string]any, name string) (string, error) {
	v := answer[name]
	if v == nil {
		return "", nil
	}
	text, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("the endpoint's answer: %s is no text", name)
	}
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' {
			return "", fmt.Errorf("the endpoint's answer: %s has characters that no token has", name)
		}
	}
	return text, nil
}

// tokenType reads token_type, which is compared without regard to case (RFC 6749 section
// 5.1). It is required there, but not everybody sends it.
func tokenType(v any) (string, error) {
	if v == nil || v == "" {
		return "Bearer", nil
	}
	text, ok := v.(string)
	if !ok || len(text) > 40 || !httpguts.ValidHeaderFieldName(text) { // a token of RFC 9110, as schemes are
		return "", errors.New("the endpoint's answer: token_type is no name of a type")
	}
	if strings.EqualFold(text, "Bearer") {
		return "Bearer", nil
	}
	return text, nil
}

// life reads expires_in: a number of seconds, which some endpoints write as text. What
// cannot be one is as good as not said.
func life(v any) time.Duration {
	var seconds float64
	var err error
	switch n := v.(type) {
	case json.Number:
		seconds, err = n.Float64()
	case string:
		var whole uint64
		whole, err = strconv.ParseUint(n, 10, 53)
		seconds = float64(whole)
	default:
		return 0
	}
	if err != nil || seconds < 1 || seconds > longestLife.Seconds() {
		return 0
	}
	return time.Duration(math.Floor(seconds)) * time.Second
}

// errorOf is the error code of a browser's return to us (RFC 6749 section 4.1.2.1), empty
// if there is none or if it is no code.
func errorOf(values url.Values) string {
	if text := values.Get("error"); code.MatchString(text) {
		return text
	}
	return ""
}
