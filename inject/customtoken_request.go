package inject

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// tokenRequest is the request that fetches a token, with its parts left open. It never
// changes.
type tokenRequest struct {
	method      string
	origin      string  // scheme and host, which hold no parts
	path, query []piece // of the URL; the query with its question mark
	headers     []openHeader
	basic       *[2][]piece // user and password
	body        []piece
	encode      encoder
}

type openHeader struct {
	name  string
	value []piece
}

var methodName = regexp.MustCompile(`^[A-Z]{1,20}$`)

// newTokenRequest takes the request's texts apart and checks them.
func newTokenRequest(c *CustomToken) (*tokenRequest, error) {
	r := &tokenRequest{method: c.Method}
	if r.method == "" {
		r.method = http.MethodPost
	}
	switch r.method {
	case http.MethodHead, http.MethodTrace, http.MethodConnect:
		return nil, fmt.Errorf("method %s fetches nothing", r.method)
	case http.MethodGet:
		if c.Body != "" {
			return nil, errors.New("a GET has no body; say another method, or leave the body out")
		}
	}
	if !methodName.MatchString(r.method) {
		return nil, fmt.Errorf("%q is not a method such as POST", r.method)
	}
	u := &parts{known: map[string]bool{}}
	for name := range c.Secrets {
		u.known["secret."+name] = false
	}
	for name := range c.JWTs {
		u.known["jwt."+name] = false
	}
	for _, step := range []func(*CustomToken, *parts) error{r.takeURL, r.takeHeaders, r.takeBasic, r.takeBody} {
		if err := step(c, u); err != nil {
			return nil, err
		}
	}
	return r, u.unused()
}

func (r *tokenRequest) takeURL(c *CustomToken, u *parts) error {
	if c.URL == "" {
		return errors.New("the url is missing")
	}
	whole, err := u.take(c.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	var plain strings.Builder // with something harmless in the place of parts
	for _, p := range whole {
		if p.isPlaceholder() {
			if scheme := strings.Index(plain.String(), "://"); scheme < 0 || !strings.ContainsAny(plain.String()[scheme+3:], "/?") {
				return fmt.Errorf("url: %s cannot be a part of the host", p.text)
			}
			plain.WriteByte('x')
			continue
		}
		plain.WriteString(p.text)
	}
	checked, err := fetch.CheckURL(plain.String())
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	r.origin = checked.Scheme + "://" + checked.Host
	_, rest, _ := strings.Cut(c.URL, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		path, query, hasQuery := strings.Cut(rest[i:], "?")
		r.path = pieces(path)
		if hasQuery {
			r.query = pieces("?" + query)
		}
	}
	return nil
}

func (r *tokenRequest) takeHeaders(c *CustomToken, u *parts) error {
	for _, name := range slices.Sorted(maps.Keys(c.RequestHeaders)) {
		if err := checkTokenHeader(name); err != nil {
			return err
		}
		value, err := u.take(c.RequestHeaders[name])
		if err != nil {
			return fmt.Errorf("request_header %s: %w", name, err)
		}
		h := openHeader{http.CanonicalHeaderKey(name), value}
		if slices.ContainsFunc(r.headers, func(o openHeader) bool { return o.name == h.name }) {
			return fmt.Errorf("request_header %s is said twice", name)
		}
		r.headers = append(r.headers, h)
	}
	return nil
}

func checkTokenHeader(name string) error {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		return fmt.Errorf("request_header: %q is not a header name", name)
	case forbidden[canonical] && canonical != "Content-Type", canonical == "Accept-Encoding":
		return fmt.Errorf("request_header %s cannot be set: it belongs to the connection or the framing", name)
	}
	return nil
}

func (r *tokenRequest) takeBasic(c *CustomToken, u *parts) (err error) {
	if c.Basic == nil {
		return nil
	}
	r.basic = new([2][]piece)
	for i, text := range []string{c.Basic.Username, c.Basic.Password} {
		if r.basic[i], err = u.take(text); err != nil {
			return fmt.Errorf("basic: %w", err)
		}
	}
	isOpen := func(list []piece) bool { return slices.ContainsFunc(list, piece.isPlaceholder) }
	switch {
	case c.Basic.Username == "" || c.Basic.Password == "":
		return errors.New("basic needs a user and a password")
	case slices.ContainsFunc(r.headers, func(h openHeader) bool { return h.name == "Authorization" }):
		return errors.New("basic and request_header Authorization are the same header")
	case !isOpen(r.basic[0]) && !isOpen(r.basic[1]):
		return errors.New("basic: a password in clear would be shown with the configuration; write {secret.password} and define it with `secret password {env.PASSWORD}`")
	}
	return nil
}

func (r *tokenRequest) takeBody(c *CustomToken, u *parts) (err error) {
	if r.body, err = u.take(c.Body); err != nil {
		return fmt.Errorf("body: %w", err)
	}
	i := slices.IndexFunc(r.headers, func(h openHeader) bool { return h.name == "Content-Type" })
	if c.Body == "" {
		if i >= 0 {
			return errors.New("request_header Content-Type is for a body; there is none")
		}
		return nil
	}
	inStrings, valid := judgeJSON(r.body)
	var contentType string
	switch {
	case i >= 0:
		contentType = c.contentType()
	case valid:
		contentType = "application/json"
	case strings.HasPrefix(strings.TrimSpace(c.Body), "<"), strings.HasPrefix(strings.TrimSpace(c.Body), "{"):
		return errors.New("the body is neither JSON nor a form: say what it is with request_header Content-Type")
	default:
		contentType = "application/x-www-form-urlencoded"
	}
	if i < 0 {
		r.headers = append(r.headers, openHeader{"Content-Type", pieces(contentType)})
	}
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(mediaType, "/") || placeholder.MatchString(contentType) {
		return errors.New("request_header Content-Type is not a media type")
	}
	switch {
	case mediaType == "application/json", strings.HasSuffix(mediaType, "+json"):
		if !valid {
			return errors.New("the body is not valid JSON, which its Content-Type says it is")
		}
		if !inStrings {
			return errors.New(`body: a part in JSON stands inside a text, as in {"password":"{secret.password}"}`)
		}
		r.encode = encodeJSON
	case mediaType == "application/x-www-form-urlencoded":
		r.encode = encodeForm
	case mediaType == "text/xml", mediaType == "application/xml", strings.HasSuffix(mediaType, "+xml"):
		r.encode = encodeXML
	default:
		r.encode = asItIs
	}
	return nil
}

// contentType is the Content-Type among the headers, however it is spelled.
func (c *CustomToken) contentType() string {
	for name, v := range c.RequestHeaders {
		if strings.EqualFold(name, "Content-Type") {
			return v
		}
	}
	return ""
}

// build makes the request with the parts' values. Errors hold none of them.
func (r *tokenRequest) build(ctx context.Context, values map[string]string) (*http.Request, error) {
	path, err := fill(r.path, values, encodePath)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	query, err := fill(r.query, values, encodeForm)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	body, err := fill(r.body, values, r.encode)
	if err != nil {
		return nil, fmt.Errorf("body: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.origin+path+query, strings.NewReader(body))
	if err != nil { // whose text has the URL
		return nil, errors.New("url: it is not valid with the parts in it")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	for _, h := range r.headers {
		value, err := fill(h.value, values, asItIs)
		if err != nil {
			return nil, fmt.Errorf("request_header %s: %w", h.name, err)
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return nil, fmt.Errorf("request_header %s: a part has characters that a header cannot carry, such as a line break", h.name)
		}
		req.Header[h.name] = []string{value}
	}
	return req, r.authorize(req, values)
}

func (r *tokenRequest) authorize(req *http.Request, values map[string]string) error {
	if r.basic == nil {
		return nil
	}
	var pair [2]string
	for i := range pair {
		text, err := fill(r.basic[i], values, asItIs)
		if err != nil {
			return fmt.Errorf("basic: %w", err)
		}
		pair[i] = text
	}
	if strings.Contains(pair[0], ":") {
		return errors.New("basic: the user may not contain a colon (RFC 7617 section 2)")
	}
	req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair[0]+":"+pair[1])))
	return nil
}
