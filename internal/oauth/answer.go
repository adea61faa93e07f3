package oauth

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// Failure is an answer that is not what was asked for.
type Failure struct {
	// Status is the answer's.
	Status int
	// Code is the OAuth error code of the answer, such as invalid_client (RFC 6749 section
	// 5.2); empty if it has none.
	Code string
	// Wait is what the answer's Retry-After says; zero if it says nothing.
	Wait time.Duration
}

// Error implements error. Besides the code nothing of the answer is told: a description
// may quote what was sent.
func (f *Failure) Error() string {
	if f.Code == "" {
		return fmt.Sprintf("the endpoint answers %d", f.Status)
	}
	return fmt.Sprintf("the endpoint answers %d %s", f.Status, f.Code)
}

// code is what an error code may look like to be repeated in a log: registered ones are
// words with underscores.
var code = regexp.MustCompile(`^[a-z][a-z_]{0,47}$`)

// FailureOf reads an answer that is not a success.
func FailureOf(res *fetch.Response) *Failure {
	f := &Failure{Status: res.Status, Wait: retryAfter(res.Header)}
	if answer, err := strictjson.Object(res.Body, strictjson.Options{}); err == nil {
		if text, ok := answer["error"].(string); ok && code.MatchString(text) {
			f.Code = text
		}
	}
	return f
}

// longestWait bounds what an endpoint can make callers wait for.
const longestWait = time.Minute

// retryAfter reads a Retry-After in seconds (RFC 9110 section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, longestWait)
}

// Object reads a successful answer, which has to be a JSON object. Errors quote nothing.
func Object(res *fetch.Response) (map[string]any, error) {
	answer, err := strictjson.Object(res.Body, strictjson.Options{})
	if err != nil {
		return nil, fmt.Errorf("the endpoint's answer: %w", err)
	}
	return answer, nil
}

var errNoCertificate = errors.New("it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
