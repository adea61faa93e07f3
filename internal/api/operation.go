package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// operation is one method of one path, and what is asked of its requests before its
// handler sees them.
type operation struct {
	id, method, path string
	summary, text    string
	tag              string

	// role is what a principal needs at least; NoRole: no principal is needed.
	role Role
	// whole says that the principal has to see all clients.
	whole bool
	// body says what the request has in its body, nil: nothing.
	body *body
	// kind is the plural of what the body is about, for pointers.
	kind string
	// produces are the types of the answer. Default: application/json.
	produces []string
	// answers are the types of answers that are not of the handler's own type, nil: no JSON.
	answers map[string]reflect.Type
	// pages are the statuses that are answered with a page, beside that of a success.
	pages map[int]string
	// bare says that what is answered about has no version.
	bare bool
	// conditional says that If-None-Match is honoured.
	conditional bool
	// changes says that the store is written.
	changes bool
	// keyed says that an Idempotency-Key is honoured.
	keyed bool
	// large says that its body, or what it computes, takes much memory: see maxLarge.
	large bool
	// getOnly refuses HEAD: the request changes something.
	getOnly bool
	// lenient lets parameters through that are not documented.
	lenient bool
	// problems are codes that are documented beside those that all such operations have.
	problems []string
	// status of a success. Default: 200.
	status int
	// example of the answer's body.
	example any

	known map[string]bool // query parameters
}

// body is a request's body: a JSON object.
type body struct {
	schema   reflect.Type
	optional bool
	max      int64 // bytes
	example  any
}

// maxBody is how many bytes a body has at most, unless its operation says more.
const maxBody = 1 << 20

// takes is a body of a type.
func takes[T any](example any) *body {
	return &body{schema: reflect.TypeFor[T](), max: maxBody, example: example}
}

func (o *operation) writes() bool { return o.method != http.MethodGet }

// knownNames lists the query parameters, for a problem.
func (o *operation) knownNames() string {
	var names []string
	for name, query := range o.known {
		if query {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return "; known are " + strings.Join(names, ", ")
}

func (o *operation) pattern() string { return o.method + " " + o.path }

// add makes an operation part of the API.
func add[I, O any](h *handler, o operation, serve func(context.Context, *I) (*O, error)) {
	if o.produces == nil {
		o.produces = []string{jsonType}
	}
	if o.status == 0 {
		o.status = http.StatusOK
	}
	op := &o
	h.routes.operations[op.pattern()] = op
	huma.Register(h.huma, op.described(), func(ctx context.Context, in *I) (*O, error) {
		out, err := serve(ctx, in)
		if err == nil {
			return out, nil
		}
		return nil, h.problem(ctx, op, err)
	})
	h.describe(op)
}

// problem is what the caller sees of an error, which is logged if the gateway is at fault.
func (h *handler) problem(ctx context.Context, op *operation, err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	p = problemOf(err, op.kind)
	if p.Status >= http.StatusInternalServerError {
		h.log.ErrorContext(ctx, "the management API could not serve a request", "operation", op.id, "status", p.Status, "error", err.Error())
	}
	return p
}
