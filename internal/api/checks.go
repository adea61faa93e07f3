package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// around puts in front of an operation what is asked of every request. Nothing of a body
// is read before it is known that the caller may do what it asks for.
func (h *handler) around(op *operation, serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		p := h.admit(op, r)
		if p == nil {
			p = h.shape(op, r)
		}
		if p == nil && op.large {
			select {
			case largeSlots <- struct{}{}:
				defer func() { <-largeSlots }()
			default:
				p = problem(codeConflict, "other archives are being imported or exported; try again when they are done").again(retryLarge)
			}
		}
		if p == nil {
			body, p = readBody(op, w, r)
		}
		if p != nil {
			refuse(w, r, p)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, &received{r, body}))
		if key := r.Header["Idempotency-Key"]; key != nil && op.keyed {
			h.once(op, key, body, w, r, serve)
			return
		}
		serve(w, r)
	}
}

// maxLarge is how many imports and exports the process serves at once: the body of one has
// up to maxImport bytes, and what opens or seals an archive takes up to 256 MiB.
const maxLarge = 2

var largeSlots = make(chan struct{}, maxLarge)

// retryLarge is when to try again what was refused for them.
const retryLarge = 5 * time.Second

// refuse answers with a problem. Whoever waits for leave to send a body is not to send it
// on this connection any more.
func refuse(w http.ResponseWriter, r *http.Request, p *Problem) {
	if r.Header.Get("Expect") != "" {
		w.Header().Set("Connection", "close")
	}
	p.write(w)
}

// received is the request that an operation serves.
type received struct {
	*http.Request
	body []byte
}

type requestKey struct{}

func requestOf(ctx context.Context) *http.Request {
	return ctx.Value(requestKey{}).(*received).Request
}

// bodyOf is the request's body; it is not to be changed.
func bodyOf(ctx context.Context) []byte { return ctx.Value(requestKey{}).(*received).body }

// admit decides whether the principal may do what it asks for. What it may not see is
// refused like what is not there.
func (h *handler) admit(op *operation, r *http.Request) *Problem {
	if err := h.origins.Check(r); err != nil {
		return problem(codeCrossSite, "browsers may ask for changes from pages of the same origin alone")
	}
	who := principalOf(r.Context())
	switch {
	case op.role == NoRole:
		return nil
	case who.Role == NoRole:
		return problem(codeNoPrincipal, "no role of the management API has been given to the caller")
	case who.Role < op.role:
		return problem(codeRole, "this needs the role %s", op.role)
	case op.whole && !who.All:
		return problem(codeRole, "this needs the role %s for all clients", op.role)
	}
	if client := r.PathValue("client"); client != "" {
		return h.admitTo(r.Context(), who, client)
	}
	return nil
}

func (h *handler) admitTo(ctx context.Context, who *Principal, client string) *Problem {
	err := error(store.ErrNotFound)
	if who.sees(client) {
		_, err = h.catalogue.Client(ctx, client)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return problem(codeNotFound, "there is no such client")
	}
	return problemOf(err, store.Clients)
}

// shape judges everything but the body.
func (h *handler) shape(op *operation, r *http.Request) *Problem {
	if preferred(r.Header["Accept"], op.produces) == "" {
		return problem(codeAccept, "the answer is %s", strings.Join(op.produces, " or "))
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return problem(codeBadParameter, "the query is not well-formed")
	}
	for _, name := range []string{"If-Match", "If-None-Match"} {
		if fields := r.Header[name]; len(fields) > 1 { // one list (RFC 9110 section 5.3)
			r.Header.Set(name, strings.Join(fields, ", "))
		}
	}
	if op.lenient {
		return nil
	}
	for name, list := range values {
		if !op.known[name] {
			return problem(codeBadParameter, "the query has a parameter that is not known here%s", op.knownNames())
		}
		if len(list) > 1 {
			return badParameter(name, "it is there more than once")
		}
	}
	r.URL.RawQuery = values.Encode() // in the one form that everybody reads alike
	return nil
}

// bodyTime is how long a body may take to arrive.
const bodyTime = time.Minute

// readBody reads the body of an operation that takes one.
func readBody(op *operation, w http.ResponseWriter, r *http.Request) ([]byte, *Problem) {
	if op.body == nil {
		if op.writes() && r.Header.Get("Content-Type") != "" && !isJSON(r.Header) {
			return nil, problem(codeMediaType, "this takes no body")
		}
		return nil, nil
	}
	deadline := http.NewResponseController(w)
	_ = deadline.SetReadDeadline(time.Now().Add(bodyTime)) // where the server can
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, op.body.max))
	_ = deadline.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, problem(codeTooLarge, "it may have %d bytes", op.body.max)
	case err != nil:
		return nil, problem(codeBadRequest, "the body did not arrive whole")
	case len(data) == 0 && op.body.optional && (r.Header.Get("Content-Type") == "" || isJSON(r.Header)):
		return nil, nil
	case !isJSON(r.Header):
		return nil, problem(codeMediaType, "the header Content-Type has to be application/json, and there may be no Content-Encoding")
	case !json.Valid(data):
		p := badMember("", "it is not a JSON text")
		bad := problem(codeBadJSON, "")
		bad.Errors = p.Errors
		return nil, bad
	}
	return data, nil
}

// isJSON reports whether a body is plain JSON in UTF-8, by its header.
func isJSON(h http.Header) bool {
	if len(h["Content-Type"]) != 1 || h.Get("Content-Encoding") != "" {
		return false
	}
	media, parameters, err := mime.ParseMediaType(h.Get("Content-Type"))
	charset := parameters["charset"]
	return err == nil && media == jsonType && (charset == "" || strings.EqualFold(charset, "utf-8"))
}
