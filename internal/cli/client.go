package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"
)

// answerLimit bounds an answer that is kept in memory, in bytes. A page of a list is far
// smaller.
const answerLimit = 64 << 20

// client calls the management API.
type client struct {
	http *http.Client
	// base is what the API's paths are appended to.
	base string
	// header goes with each request.
	header http.Header
	// place names the API, and hint says what may be wrong when it cannot be reached.
	place, hint string
	// timeout bounds a call whose answer is kept in memory; 0: nothing does.
	timeout time.Duration
	// pause waits between attempts.
	pause func(context.Context, time.Duration) error
}

// patient lets the API take as long as it wants for an answer.
func (c *client) patient() {
	c.timeout = 0
	if t, ok := c.http.Transport.(*http.Transport); ok {
		t.ResponseHeaderTimeout = 0
	}
}

// call is one request to the API.
type call struct {
	method, path string
	query        url.Values
	// body is JSON, nil if there is none.
	body []byte
	// accept is the type of answer that is wanted, empty for JSON.
	accept string
	// ifMatch is the version that a change expects, empty for any.
	ifMatch string
	// key makes a repetition of the call harmless (Idempotency-Key).
	key string
	// once says that making the call twice does something else, though it only reads.
	once bool
}

// answer is what the API said.
type answer struct {
	body []byte
	etag string
}

// pauses are the waits before the second attempt and those after it.
var pauses = []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second}

// do makes a call and reads the answer. An answer of the API that is no success is a
// *problem.
func (c *client) do(ctx context.Context, call call) (*answer, error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	res, err := c.open(ctx, call)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, answerLimit+1))
	if err != nil {
		return nil, c.explain(err, call)
	}
	if len(body) > answerLimit {
		return nil, fmt.Errorf("the answer of %s has more than %d bytes", c.place, answerLimit)
	}
	return &answer{body: body, etag: res.Header.Get("ETag")}, nil
}

// open makes a call and returns the successful answer, whose body the caller closes. A
// call that was lost on the way is made again when that is harmless.
func (c *client) open(ctx context.Context, call call) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		res, err := c.once(ctx, call)
		if err == nil || attempt == len(pauses) || !call.harmless() || !worthRepeating(err) {
			return res, c.explain(err, call)
		}
		if err := c.pause(ctx, pauses[attempt]); err != nil {
			return nil, c.explain(err, call)
		}
	}
}

func (c *client) once(ctx context.Context, call call) (*http.Response, error) {
	target := c.base + call.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, call.method, target, bytes.NewReader(call.body))
	if err != nil {
		return nil, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", cmp.Or(call.accept, "application/json, */*;q=0.1"))
	for name, value := range map[string]string{"If-Match": call.ifMatch, "Idempotency-Key": call.key} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	if call.method != http.MethodGet && call.method != http.MethodDelete {
		req.Header.Set("Content-Type", "application/json")
	}
	if call.once {
		c.http.CloseIdleConnections() // what is lost on a new one the transport does not repeat
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 2 && isOfType(res, cmp.Or(call.accept, "application/json")) {
		return res, nil
	}
	defer res.Body.Close()
	return nil, readProblem(res, call)
}

// isOfType reports whether an answer is what the API would answer, and not a page of
// something else that answers to everything.
func isOfType(res *http.Response, want string) bool {
	media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && media == want
}

// harmless reports whether making the call twice does no more than making it once.
func (c call) harmless() bool { return c.method == http.MethodGet && !c.once || c.key != "" }

// worthRepeating reports whether a call failed in a way that another attempt may mend:
// the connection broke, or the first attempt is still being worked on. A connection that
// cannot be made is not.
func worthRepeating(err error) bool {
	if p, ok := errors.AsType[*problem](err); ok {
		return p.Status == http.StatusConflict && p.Code == codeStillRunning
	}
	return !isUnreachable(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func isUnreachable(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// explain says of an error that is not the API's answer what to do about it.
func (c *client) explain(err error, call call) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem](err); ok {
		return err
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address, which place says better
	}
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() && !isUnreachable(err) {
		err = errors.New("it takes longer than --timeout says")
	}
	if isUnreachable(err) {
		return fmt.Errorf("%s cannot be reached: %w\n%s", c.place, err, c.hint)
	}
	if call.key != "" {
		return fmt.Errorf("no answer from %s: %w\nwhether it was done is not known: the same command with --idempotency-key %s does it once in any case", c.place, err, call.key)
	}
	return fmt.Errorf("no answer from %s: %w", c.place, err)
}

// page is one page of a list.
type page struct {
	Cursor string
	Items  []json.RawMessage
}

// list reads the pages of a list, up to so many items; 0: all.
func (c *client) list(ctx context.Context, path, member string, query url.Values, limit int) ([]json.RawMessage, error) {
	const most = 500 // items that a page is asked for
	query = cloneQuery(query)
	var items []json.RawMessage
	for {
		size := most
		if limit > 0 {
			size = min(most, limit-len(items))
		}
		query.Set("limit", fmt.Sprint(size))
		answer, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query})
		if err != nil {
			return nil, err
		}
		page, err := readPage(answer.body, member)
		if err != nil {
			return nil, fmt.Errorf("the answer of %s: %w", c.place, err)
		}
		items = append(items, page.Items...)
		if limit > 0 && len(items) > limit {
			items = items[:limit]
		}
		if page.Cursor == "" || len(page.Items) == 0 || (limit > 0 && len(items) >= limit) {
			return items, nil
		}
		query.Set("cursor", page.Cursor)
	}
}

func readPage(body []byte, member string) (*page, error) {
	var envelope map[string]json.RawMessage
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, errors.New("it is not a JSON object")
	}
	var p page
	if raw, ok := envelope[member]; !ok || json.Unmarshal(raw, &p.Items) != nil {
		return nil, fmt.Errorf("it has no list %q", member)
	}
	if raw, ok := envelope["cursor"]; ok && json.Unmarshal(raw, &p.Cursor) != nil {
		return nil, errors.New("its cursor is not text")
	}
	return &p, nil
}

func cloneQuery(query url.Values) url.Values {
	clone := url.Values{}
	for name, values := range query {
		clone[name] = values
	}
	return clone
}

// pathOf joins segments, each escaped.
func pathOf(segments ...string) string {
	var path []byte
	for _, segment := range segments {
		path = append(append(path, '/'), url.PathEscape(segment)...)
	}
	return string(path)
}
