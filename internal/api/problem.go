package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// The codes of problems. A code has one status.
const (
	codeBadRequest   = "bad-request"
	codeBadJSON      = "bad-json"
	codeBadParameter = "bad-parameter"
	codeNoPrincipal  = "no-principal"
	codeRole         = "role-missing"
	codeCrossSite    = "cross-site"
	codeNotFound     = "not-found"
	codeMethod       = "method-not-allowed"
	codeAccept       = "not-acceptable"
	codeConflict     = "conflict"
	codeRunning      = "still-running"
	codeStale        = "stale"
	codeTooLarge     = "too-large"
	codeMediaType    = "unsupported-media-type"
	codeInvalid      = "invalid"
	codeKeyReused    = "idempotency-key-reused"
	codeThrottled    = "too-many-failures"
	codeInternal     = "internal"
	codeUnsupported  = "not-supported"
	codeUnavailable  = "store-unavailable"
	codeReadOnly     = "store-read-only"
	codeFull         = "store-full"
)

// kinds are the problems by their code: status, and title in words.
var kinds = map[string]struct {
	status int
	title  string
}{
	codeBadRequest:   {http.StatusBadRequest, "The request is not well-formed"},
	codeBadJSON:      {http.StatusBadRequest, "The body is not JSON"},
	codeBadParameter: {http.StatusBadRequest, "A parameter is not valid"},
	codeNoPrincipal:  {http.StatusForbidden, "The caller is not known"},
	codeRole:         {http.StatusForbidden, "The caller's role does not allow it"},
	codeCrossSite:    {http.StatusForbidden, "A page of another site asks for it"},
	codeNotFound:     {http.StatusNotFound, "There is no such resource"},
	codeMethod:       {http.StatusMethodNotAllowed, "The resource does not take this method"},
	codeAccept:       {http.StatusNotAcceptable, "The answer cannot be in an accepted form"},
	codeConflict:     {http.StatusConflict, "It does not go together with what is there"},
	codeRunning:      {http.StatusConflict, "The same request is still running"},
	codeStale:        {http.StatusPreconditionFailed, "The record has changed"},
	codeTooLarge:     {http.StatusRequestEntityTooLarge, "The body is too large"},
	codeMediaType:    {http.StatusUnsupportedMediaType, "The body is not application/json"},
	codeInvalid:      {http.StatusUnprocessableEntity, "The request is not valid"},
	codeKeyReused:    {http.StatusUnprocessableEntity, "The idempotency key belongs to another request"},
	codeThrottled:    {http.StatusTooManyRequests, "Too many checks of unknown callers"},
	codeInternal:     {http.StatusInternalServerError, "The gateway failed"},
	codeUnsupported:  {http.StatusNotImplemented, "This store cannot do it"},
	codeUnavailable:  {http.StatusServiceUnavailable, "The store cannot be reached"},
	codeReadOnly:     {http.StatusServiceUnavailable, "The store cannot be written"},
	codeFull:         {http.StatusInsufficientStorage, "The store is full"},
}

// statusClientClosed is the status by which Caddy logs that the caller went away.
const statusClientClosed = 499

// Problem is every answer that is no success (RFC 9457). It is an error, and has nothing
// of what the request said.
type Problem struct {
	Type   string  `json:"type" doc:"about:blank: the code says what it is"`
	Title  string  `json:"title" doc:"The code in words"`
	Status int     `json:"status" doc:"The HTTP status"`
	Code   string  `json:"code" doc:"What went wrong, for programs"`
	Detail string  `json:"detail,omitempty" doc:"What went wrong, and what to do, for people"`
	Errors []Fault `json:"errors,omitempty" doc:"The places at fault"`
	Users  []User  `json:"users,omitempty" doc:"What stands in the way"`

	header http.Header // of the answer
}

// Fault is one place in a request that is at fault.
type Fault struct {
	Pointer   *string `json:"pointer,omitempty" doc:"JSON pointer into the body (RFC 6901)"`
	Parameter string  `json:"parameter,omitempty" doc:"Name of the path parameter, query parameter or header"`
	Detail    string  `json:"detail" doc:"What is wrong with it"`
}

// User is a resource that stands in the way of a change.
type User struct {
	Kind string `json:"kind" doc:"credentials, targets, proxies, blocklist or clients"`
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Detail == "" {
		return p.Title
	}
	return p.Detail
}

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (*Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

func problem(code, format string, args ...any) *Problem {
	k := kinds[code]
	return &Problem{Type: "about:blank", Title: k.title, Status: k.status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// with adds a header to the answer.
func (p *Problem) with(name, value string) *Problem {
	if p.header == nil {
		p.header = http.Header{}
	}
	p.header.Set(name, value)
	return p
}

// again says when to try once more.
func (p *Problem) again(after time.Duration) *Problem {
	return p.with("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
}

// write answers with the problem.
func (p *Problem) write(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	h.Set("Content-Type", problemType)
	body, err := json.Marshal(p)
	if err != nil { // texts and numbers alone
		body = nil
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // whoever asked may be gone
}

// badParameter is a problem with one parameter, or header.
func badParameter(name, format string, args ...any) *Problem {
	p := problem(codeBadParameter, "")
	p.Errors = []Fault{{Parameter: name, Detail: fmt.Sprintf(format, args...)}}
	return p
}

// badMember is a problem with one place of the body.
func badMember(pointer, format string, args ...any) *Problem {
	return badMembers(wire.Faults{{Pointer: pointer, Detail: fmt.Sprintf(format, args...)}})
}

func badMembers(faults wire.Faults) *Problem {
	p := problem(codeInvalid, "")
	for _, f := range faults {
		p.Errors = append(p.Errors, Fault{Pointer: &f.Pointer, Detail: f.Detail})
	}
	return p
}

// retryStore is when to ask again for a store that cannot be reached or written.
const retryStore = 5 * time.Second

// Starting answers while no configuration is in force, so that there is no API to ask.
func Starting(w http.ResponseWriter) {
	problem(codeUnavailable, "no configuration is in force: the gateway starts or ends").again(time.Second).write(w)
}

// problemOf says what the caller sees of an error. kind is the plural of the records that
// the body is about, for pointers.
func problemOf(err error, kind string) *Problem {
	var (
		p        *Problem
		faults   wire.Faults
		invalid  *catalog.Invalid
		conflict *catalog.Conflict
	)
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &faults):
		return badMembers(faults)
	case errors.As(err, &invalid):
		return badMember(wire.Pointer(kind, invalid.Field), "%s", invalid.Detail)
	case errors.As(err, &conflict):
		p := problem(codeConflict, "%s", conflict.Detail)
		for _, u := range conflict.Users {
			p.Users = append(p.Users, User{Kind: u.Kind, ID: u.ID, Name: u.Name})
		}
		return p
	case errors.Is(err, store.ErrConflict):
		return problem(codeStale, "it was changed in the meantime: read it again, and repeat the change on what it is now")
	case errors.Is(err, store.ErrNotFound):
		return problem(codeNotFound, "")
	case errors.Is(err, store.ErrFull):
		return problem(codeFull, "there is no room for the change; nothing was changed")
	case errors.Is(err, store.ErrReadOnly):
		return problem(codeReadOnly, "nothing was changed; what is stored is still served").again(retryStore)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrLocked), errors.Is(err, catalog.ErrClosed), errors.Is(err, context.DeadlineExceeded):
		return problem(codeUnavailable, "what is known is still served").again(retryStore)
	case errors.Is(err, context.Canceled):
		p := problem(codeUnavailable, "")
		p.Status = statusClientClosed
		return p
	}
	return problem(codeInternal, "the gateway's log says more")
}
