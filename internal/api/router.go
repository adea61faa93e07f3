package api

import (
	"net/http"
	"path"
	"strings"
)

// router finds the operation of a request. It implements humago.Mux.
type router struct {
	mux        *http.ServeMux
	operations map[string]*operation // by pattern
	around     func(*operation, http.HandlerFunc) http.HandlerFunc
}

// HandleFunc implements humago.Mux: it puts what is common to all operations around one.
func (r *router) HandleFunc(pattern string, serve func(http.ResponseWriter, *http.Request)) {
	r.mux.HandleFunc(pattern, r.around(r.operations[pattern], serve))
}

// ServeHTTP implements humago.Mux.
func (r *router) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.mux.ServeHTTP(w, req) }

// find returns the operation of a request; nil if there is none, and then the methods
// that its path has.
func (r *router) find(req *http.Request) (op *operation, allowed []string) {
	if op = r.at(req, req.Method); op != nil {
		return op, nil
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if r.at(req, method) != nil {
			allowed = append(allowed, method)
		}
	}
	if allowed != nil {
		allowed = append(allowed, http.MethodOptions)
	}
	return nil, allowed
}

func (r *router) at(req *http.Request, method string) *operation {
	other := *req
	other.Method = method
	_, pattern := r.mux.Handler(&other)
	op := r.operations[pattern]
	if op != nil && op.getOnly && method == http.MethodHead {
		return nil
	}
	return op
}

// below returns the request as it is below the mount: without the prefix, and without
// /api, with which the same is served. ok is false if it is elsewhere, or its path is not
// in its one plain form.
func below(req *http.Request, prefix string) (_ *http.Request, ok bool) {
	u := *req.URL
	u.Path, ok = strings.CutPrefix(u.Path, prefix)
	if !ok {
		return nil, false
	}
	if u.RawPath != "" {
		if u.RawPath, ok = strings.CutPrefix(u.RawPath, prefix); !ok {
			return nil, false
		}
	}
	if rest, found := strings.CutPrefix(u.Path, "/api/"); found {
		u.Path = "/" + rest
		u.RawPath = strings.TrimPrefix(u.RawPath, "/api")
	}
	if path.Clean(u.Path) != u.Path || !strings.HasPrefix(u.Path, "/") {
		return nil, false
	}
	other := req.Clone(req.Context())
	other.URL = &u
	other.RequestURI = ""
	return other, true
}
