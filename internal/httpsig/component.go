package httpsig

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"
)

// Component is a part of a request that a signature covers (RFC 9421 section 2): a header
// field, or a derived component, whose name begins with @.
type Component struct {
	// Name is in lower case.
	Name string
	// Parameter is the query parameter's name, decoded, of @query-param.
	Parameter string
	// Optional is a field that is covered if the request has it.
	Optional bool
}

// queryParam is the one derived component with a parameter (section 2.2.8).
const queryParam = "@query-param"

// derived are the derived components of requests without a parameter (section 2.2).
var derived = map[string]func(r *http.Request) (string, error){
	"@method":    func(r *http.Request) (string, error) { return r.Method, nil },
	"@authority": func(r *http.Request) (string, error) { return authority(r), nil },
	"@path":      func(r *http.Request) (string, error) { return path(r), nil },
	// the query is absent and empty alike (section 2.2.7)
	"@query":          func(r *http.Request) (string, error) { return "?" + r.URL.RawQuery, nil },
	"@request-target": func(r *http.Request) (string, error) { return requestTarget(r), nil },
	"@scheme":         scheme,
	"@target-uri": func(r *http.Request) (string, error) {
		s, err := scheme(r)
		return s + "://" + authority(r) + requestTarget(r), err
	},
}

// unsteady are the fields that belong to a connection or to the framing, so that nobody
// further on sees them as they were signed, and the signature's own.
var unsteady = map[string]bool{
	"connection": true, "proxy-connection": true, "keep-alive": true, "te": true, "trailer": true,
	"transfer-encoding": true, "upgrade": true, "proxy-authenticate": true, "proxy-authorization": true,
	"signature": true, "signature-input": true,
}

// ParseComponent reads a component as people write it: @method, content-type,
// @query-param;name="id" (the quotes may be left out), or content-type? for a field that is
// covered only if the request has it.
func ParseComponent(text string) (Component, error) {
	name, parameter, hasParameter := strings.Cut(text, ";")
	name, optional := strings.CutSuffix(name, "?")
	c := Component{Name: strings.ToLower(name), Optional: optional}
	switch _, known := derived[c.Name]; {
	case optional && (hasParameter || strings.HasPrefix(name, "@")):
		return c, fmt.Errorf("%q: only header fields can be covered where there is one (?)", text)
	case c.Name == queryParam:
		value, ok := strings.CutPrefix(parameter, "name=")
		if unquoted, err := strconv.Unquote(value); err == nil {
			value = unquoted
		}
		if c.Parameter = percentDecoded(value); !ok || value == "" || !utf8.ValidString(c.Parameter) {
			return c, fmt.Errorf(`%q: a query parameter is covered with its name, as in @query-param;name="id"`, text)
		}
		return c, nil
	case hasParameter:
		return c, fmt.Errorf("%q: of parameters of components there is only ;name= of @query-param", text)
	case known:
		return c, nil
	case strings.HasPrefix(c.Name, "@"):
		return c, fmt.Errorf("%q is no component of a request; there are: @method, @target-uri, @authority, @scheme, @request-target, @path, @query, @query-param;name=…, and names of header fields", text)
	case !httpguts.ValidHeaderFieldName(c.Name):
		return c, fmt.Errorf("%q is not the name of a header field", text)
	case unsteady[c.Name]:
		return c, fmt.Errorf("%q cannot be covered: it belongs to the connection, the framing or the signature itself", text)
	}
	return c, nil
}

// Identifier is the component as it is named in a signature (section 2.5).
func (c Component) Identifier() string {
	if c.Name == queryParam {
		return quoted(c.Name) + ";name=" + quoted(percentEncoded(c.Parameter))
	}
	return quoted(c.Name)
}

// present reports whether the request has the component, which only fields may lack.
func (c Component) present(r *http.Request) bool {
	_, ok := field(r, c.Name)
	return ok
}

// errAbsent is what a covered field must not be: a signature covers all that it promises or
// there is none.
var errAbsent = errors.New("the request has none")

// value is the component's value (sections 2.1 and 2.2), which may stand in a signature base.
func (c Component) value(r *http.Request) (string, error) {
	var v string
	var err error
	if f, ok := derived[c.Name]; ok {
		v, err = f(r)
	} else if c.Name == queryParam {
		v, err = parameterValue(r.URL.RawQuery, c.Parameter)
	} else if v, ok = field(r, c.Name); !ok {
		err = errAbsent
	}
	if err != nil {
		return "", err
	}
	for i := range len(v) {
		if v[i] != '\t' && v[i] < ' ' || v[i] > '~' {
			return "", errors.New("it has characters beyond ASCII, or control characters, which cannot be signed")
		}
	}
	return v, nil
}

// field is a field's combined value (section 2.1) as net/http will send it. What it sends
// besides the header map is here too.
func field(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		return r.Host, r.Host != ""
	case "content-length":
		return contentLength(r)
	}
	lines := r.Header[http.CanonicalHeaderKey(name)]
	if len(lines) == 0 || name == "user-agent" && lines[0] == "" { // net/http sends no empty one, and only the first
		return "", false
	}
	if name == "user-agent" {
		lines = lines[:1]
	}
	values := make([]string, len(lines))
	for i, line := range lines {
		values[i] = unfolded(line)
	}
	return strings.Join(values, ", "), true
}

// unfolded removes the white space around a value, and replaces line folding by a space
// (section 2.1 steps 2 and 3).
func unfolded(line string) string {
	line = strings.ReplaceAll(line, "\r\n", "\n")
	for {
		i := strings.IndexByte(line, '\n')
		if i < 0 {
			return strings.Trim(line, " \t")
		}
		line = strings.TrimRight(line[:i], " \t") + " " + strings.TrimLeft(line[i+1:], " \t\n")
	}
}

// contentLength is the field as net/http writes it: for a body of known length, and for an
// empty one with the methods that usually have one.
func contentLength(r *http.Request) (string, bool) {
	empty := r.Body == nil || r.Body == http.NoBody
	switch {
	case r.ContentLength > 0 && !empty:
		return strconv.FormatInt(r.ContentLength, 10), true
	case empty && (r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch):
		return "0", true
	}
	return "", false
}

func scheme(r *http.Request) (string, error) {
	if r.URL.Scheme == "" {
		return "", errors.New("it is not known yet how the upstream will be reached")
	}
	return strings.ToLower(r.URL.Scheme), nil
}

// authority is the host in lower case, without the scheme's own port (section 2.2.3).
func authority(r *http.Request) string {
	host := strings.ToLower(r.Host)
	if r.URL.Scheme == "http" {
		return strings.TrimSuffix(host, ":80")
	}
	return strings.TrimSuffix(host, ":443")
}

// path is as it is sent, still encoded (section 2.2.6).
func path(r *http.Request) string {
	if p := r.URL.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

func requestTarget(r *http.Request) string {
	if r.URL.RawQuery == "" && !r.URL.ForceQuery {
		return path(r)
	}
	return path(r) + "?" + r.URL.RawQuery
}

// parameterValue is a query parameter's value, encoded anew (section 2.2.8).
func parameterValue(query, name string) (string, error) {
	value, found := "", 0
	for _, pair := range strings.Split(query, "&") {
		n, v, _ := strings.Cut(pair, "=")
		if pair != "" && formDecoded(n) == name {
			value, found = formDecoded(v), found+1
		}
	}
	switch {
	case found == 0:
		return "", errAbsent
	case found > 1:
		return "", errors.New("the request has several, of which none can be covered (RFC 9421 section 2.2.8); cover @query")
	case !utf8.ValidString(value):
		return "", errors.New("it is not UTF-8")
	}
	return percentEncoded(value), nil
}

// formDecoded reads a name or value of a form as browsers do: what is no escape is text.
func formDecoded(s string) string { return percentDecoded(strings.ReplaceAll(s, "+", " ")) }

func percentDecoded(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(c)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// percentEncoded encodes all but letters, digits and *-._ (the set that the URL standard
// has for forms; a space is %20 here).
func percentEncoded(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("*-._", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
