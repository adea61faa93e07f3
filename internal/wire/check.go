package wire

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// CheckRequest is a body that describes a request, to be told what would happen to it.
type CheckRequest struct {
	Method  string `json:"method,omitempty" maxLength:"32" doc:"Default: GET" example:"POST"`
	Path    string `json:"path" maxLength:"8192" doc:"The path that follows the proxy's own, maybe with a query" example:"/v1/charges"`
	Headers Object `json:"headers,omitempty" doc:"Headers by name, each a text or a list of texts; the caller's credential is among them" example:"{\"Authorization\":\"Bearer …\"}"`
	Query   any    `json:"query,omitempty" doc:"The query: as it is written, or parameters by name, each a text or a list of texts" example:"{\"limit\":\"3\"}"`
	Body    any    `json:"body,omitempty" doc:"The body: a text as it is; anything else is sent as JSON" example:"{\"amount\":100}"`
}

var checkRequest = newRequest(CheckRequest{}, CheckRequest{}, nil)

// Check describes a request.
type Check struct {
	Method string
	// Path and Query are as they are written in a request line.
	Path, Query string
	Header      http.Header
	Body        []byte
}

// Format keeps the caller's credential out of whatever prints it.
func (c Check) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "%s %s", c.Method, c.Path) }

// Request makes the request, as a server would have received it.
func (c *Check) Request(ctx context.Context) (*http.Request, error) {
	target := c.Path
	if c.Query != "" {
		target += "?" + c.Query
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("the path is not one of a request") // without what it has
	}
	r, err := http.NewRequestWithContext(ctx, c.Method, "http://localhost", bytes.NewReader(c.Body))
	if err != nil {
		return nil, fmt.Errorf("the request cannot be made")
	}
	r.URL, r.RequestURI, r.Header = u, target, c.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	return r, nil
}

// DecodeCheck reads a body that describes a request. The error is Faults.
func DecodeCheck(body []byte) (*Check, error) {
	r := new(reader)
	m, ok := checkRequest.read(r, body, nil, "")
	if !ok {
		return nil, r.err()
	}
	c := &Check{Method: http.MethodGet, Header: http.Header{}}
	if method, _ := m.values["method"].(string); method != "" {
		c.Method = method
	}
	if !httpguts.ValidHeaderFieldName(c.Method) { // both are tokens (RFC 9110 section 5.6.2)
		r.fault(m.place("method", "method"), "it is not a method such as POST")
	}
	m.text("path", &c.Path)
	c.Path, c.Query, _ = strings.Cut(c.Path, "?")
	if !m.bad["path"] && (!isPath(c.Path) || c.Query != "" && !isPath("/?"+c.Query)) {
		r.fault(m.place("path", "path"), "it has to be a path such as /v1/charges?limit=3, that begins with a slash")
	}
	headers, _ := m.values["headers"].(map[string]any)
	r.headers(headers, m.place("headers", "headers"), c.Header)
	r.query(m, c)
	r.checkBody(m, c)
	if err := r.err(); err != nil {
		return nil, err
	}
	return c, nil
}

// each reads an object of texts and lists of texts.
func (r *reader) each(object map[string]any, at string, visit func(name, value, at string)) {
	if len(object) > MaxListed {
		r.fault(at, "it has %d members, at most %d are taken", len(object), MaxListed)
		return
	}
	for _, name := range sortedKeys(object) {
		place := at // see unknown
		if len(name) <= longestName {
			place = pointer(at, name)
		}
		list, ok := object[name].([]any)
		if !ok {
			list = []any{object[name]}
		}
		for _, v := range list {
			if text, ok := v.(string); ok {
				visit(name, text, place)
			} else {
				r.wrongType(place, v, "a text, or a list of texts")
			}
		}
	}
}

func (r *reader) headers(object map[string]any, at string, to http.Header) {
	r.each(object, at, func(name, value, at string) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
			r.fault(at, "it is not the name of a header, or has a value that no header can have")
			return
		}
		to.Add(name, value)
	})
}

func (r *reader) query(m *members, c *Check) {
	v, at := m.values["query"], m.place("query", "query")
	if v == nil {
		return
	}
	if c.Query != "" {
		r.fault(at, "the path has a query already; say one of them")
		return
	}
	switch v := v.(type) {
	case string:
		if c.Query = strings.TrimPrefix(v, "?"); len(v) > 8192 || !isPath("/?"+c.Query) {
			r.fault(at, "it is not a query such as limit=3&expand=a, of at most 8192 bytes")
		}
	case map[string]any:
		values := url.Values{}
		r.each(v, at, func(name, value, _ string) { values.Add(name, value) })
		c.Query = values.Encode()
	default:
		r.wrongType(at, v, "a text, or an object of parameters")
	}
}

func (r *reader) checkBody(m *members, c *Check) {
	switch v := m.values["body"].(type) {
	case nil:
	case string:
		c.Body = []byte(v)
	default:
		body, err := json.Marshal(v)
		if err != nil {
			r.fault(m.place("body", "body"), "it cannot be sent as JSON")
			return
		}
		c.Body = body
		if c.Header.Get("Content-Type") == "" {
			c.Header.Set("Content-Type", "application/json")
		}
	}
}
