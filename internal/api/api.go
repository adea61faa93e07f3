// Package api is the management API: HTTP over the catalogue, with the paths, names and
// envelopes of the original's Core API, and an OpenAPI document of all of it.
//
// Whoever mounts it says who calls (WithPrincipal); a request without a principal is
// refused. Roles and clients are judged before anything of a body is read, and an answer
// never has a secret, nor anything of what a request said, but for a key that was made for
// it: that is shown once.
//
// The package imports nothing of Caddy.
package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Options are what New needs beside a catalogue.
type Options struct {
	// Prefix is the path that the API is mounted at, such as /rr: requests come with it.
	// It has no slash at its end.
	Prefix string
	// BaseURL is the public address of the mount, such as https://gateway.example/manage,
	// without a slash at its end. A consent sends browsers there, and it is in the OpenAPI
	// document.
	BaseURL string
	// TrustHost says that, without a BaseURL, it is made of the request's scheme and Host
	// and of Prefix: who can send requests has these from the operator, or cannot use what
	// a wrong one leads to.
	TrustHost bool
	// Version is the API's, for the OpenAPI document.
	Version string
	// Log is told what went wrong in the gateway. Default: nothing is told.
	Log *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

type handler struct {
	catalogue Catalogue
	options   Options
	log       *slog.Logger
	now       func() time.Time
	origins   *http.CrossOriginProtection
	replies   *replies
	guesses   *guesses
	routes    *router
	huma      huma.API
	document  func() ([]byte, error) // the OpenAPI document, made when it is first asked for

	resources
}

// New returns the API over a catalogue.
func New(c Catalogue, o Options) http.Handler {
	h := &handler{
		catalogue: c, options: o, log: o.Log, now: o.Now,
		origins: http.NewCrossOriginProtection(),
		replies: &replies{running: map[string]bool{}, count: map[string]int{}},
		guesses: &guesses{table: map[string]*guessing{}},
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.now == nil {
		h.now = time.Now
	}
	h.resources = resourcesOf(c)
	h.routes = &router{mux: http.NewServeMux(), operations: map[string]*operation{}, around: h.around}
	h.huma = humago.New(h.routes, config(&o))
	h.document = sync.OnceValues(h.openAPI)
	h.operations()
	return h
}

func unwrap(c huma.Context) (*http.Request, http.ResponseWriter) { return humago.Unwrap(c) }

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
	} {
		w.Header().Set(name, value)
	}
	out := &begun{ResponseWriter: w}
	defer h.recover(r.Context(), out)
	h.serve(out, r)
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	var op *operation
	var allowed []string
	here, ok := below(r, h.options.Prefix)
	if ok {
		op, allowed = h.routes.find(here)
	}
	switch {
	case op != nil:
		h.routes.ServeHTTP(w, here)
	case principalOf(r.Context()).Role == NoRole:
		// what is here is nobody's business
		refuse(w, r, problem(codeNoPrincipal, "no role of the management API has been given to the caller"))
	case allowed == nil:
		refuse(w, r, problem(codeNotFound, "there is nothing at this path"))
	case r.Method == http.MethodOptions:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		w.WriteHeader(http.StatusNoContent)
	default:
		refuse(w, r, problem(codeMethod, "").with("Allow", strings.Join(allowed, ", ")))
	}
}

// begun knows whether an answer has begun.
type begun struct {
	http.ResponseWriter
	is bool
}

// WriteHeader implements http.ResponseWriter.
func (w *begun) WriteHeader(status int) {
	w.is = true
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *begun) Write(b []byte) (int, error) {
	w.is = true
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *begun) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// recover answers for a request whose handler panicked. A panic's value may be anything:
// the log gets it if it is an error of the runtime, else its type.
func (h *handler) recover(ctx context.Context, w *begun) {
	p := recover()
	if p == nil {
		return
	}
	if err, is := p.(error); is && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	what := fmt.Sprintf("%T", p)
	if err, is := p.(runtime.Error); is {
		what = err.Error()
	}
	h.log.ErrorContext(ctx, "the management API panicked", "panic", what, "stack", string(debug.Stack()))
	if w.is {
		panic(http.ErrAbortHandler) // half an answer is none
	}
	problem(codeInternal, "the gateway's log says more").write(w)
}
