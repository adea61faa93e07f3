package verify

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

// Gateway serves every proxy: those of the rr app, and those made through the API.
type Gateway struct {
	// The part of the path before the proxy's name, such as /api. It and the name are
	// removed before rules judge the path and before the request goes on.
	Prefix string `json:"prefix,omitempty"`
	// Where the proxy's name, alias or id is, if not in the path: a placeholder such as
	// {http.request.host.labels.2}. The path then has the prefix alone before the
	// upstream's path.
	Name string `json:"name,omitempty"`
}

// Directory knows the proxies that come and go while a configuration is in force.
type Directory interface {
	// Find returns the gate of the proxy with this id, alias or name, nil if there is none.
	// An error says that it cannot be told now.
	Find(name string) (*Gate, error)
	// Any returns some gate, always the same for the same number while nothing changes;
	// nil if there is none.
	Any(n uint64) *Gate
}

// gateway is a Gateway with the proxies it leads to.
type gateway struct {
	prefix    string
	name      string // a placeholder, empty for the path
	gates     map[string]*Gate
	sorted    []*Gate
	directory Directory
	face      face
	nobody    *Gate // for requests if there is no proxy at all
	seed      maphash.Seed
}

// unknownSeries counts requests for proxies that do not exist, for ever.
var unknownSeries = metrics.Hold(metrics.Unknown)

func newGateway(l *host.Loader, c *Gateway, app Host) (*gateway, error) {
	prefix := strings.TrimSuffix(c.Prefix, "/")
	if prefix != "" && prefix[0] != '/' || strings.ContainsAny(prefix, "*%? {}") {
		return nil, fmt.Errorf("the gateway's prefix %q is not a plain path such as /api", c.Prefix)
	}
	if c.Name != "" && !strings.Contains(c.Name, "{") {
		return nil, fmt.Errorf("the gateway's name is a placeholder such as {http.request.host.labels.2}, not %q", c.Name)
	}
	gates := app.VerifyGates()
	gw := &gateway{
		prefix: prefix, name: c.Name, gates: gates, directory: app.Directory(),
		seed: maphash.MakeSeed(),
	}
	if len(gates) == 0 && gw.directory == nil {
		return nil, errors.New("rr_gateway has no proxy to lead to: the rr app declares none, and has no store")
	}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		gw.sorted = append(gw.sorted, gates[name])
		gw.face.add(gates[name])
	}
	if gw.directory != nil {
		gw.face.addUsual()
		spec := &Spec{AcceptRaw: []json.RawMessage{NobodysKey()}}
		var err error
		if gw.nobody, err = NewGate(l, "", "rr_gateway", spec, nil); err != nil {
			return nil, err
		}
	}
	gw.face.slots.finish()
	return gw, nil
}

// NobodysKey is a verifier that recognises no caller: its key is thrown away.
func NobodysKey() json.RawMessage {
	return json.RawMessage(`{"kind":"key","hashes":["` + FormatHash(rand.Text()+rand.Text()) + `"]}`)
}

func union(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// find returns the gate that the request names and takes prefix and name off the path; nil
// if there is none.
func (gw *gateway) find(r *http.Request) (*Gate, error) {
	name, inPath, ok := gw.proxy(r)
	if !ok {
		return nil, nil
	}
	g := gw.gates[name]
	if g == nil && gw.directory != nil {
		var err error
		if g, err = gw.directory.Find(name); err != nil {
			return nil, err
		}
	}
	if g == nil {
		return nil, nil
	}
	// neither prefix nor name has a character that could be escaped, so the same
	// number of bytes comes off both forms of the path
	n := len(gw.prefix) + inPath
	r.URL.Path = orRoot(r.URL.Path[n:])
	if r.URL.RawPath != "" {
		r.URL.RawPath = orRoot(r.URL.RawPath[n:])
	}
	return g, nil
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// proxy is the name of the proxy, and how many bytes of the path behind the prefix it has.
func (gw *gateway) proxy(r *http.Request) (name string, inPath int, ok bool) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), gw.prefix)
	if !ok || !strings.HasPrefix(r.URL.Path, gw.prefix) || rest != "" && rest[0] != '/' {
		return "", 0, false
	}
	if gw.name != "" {
		if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			name = repl.ReplaceAll(gw.name, "")
		}
		return name, 0, name != "" && len(name) <= maxName
	}
	if rest == "" {
		return "", 0, false
	}
	name, _, _ = strings.Cut(rest[1:], "/")
	return name, 1 + len(name), name != "" && !strings.Contains(name, "%")
}

// maxName bounds, in bytes, what is looked up in a host's name.
const maxName = 253

// unknown refuses a request for a proxy that does not exist exactly as one with a wrong
// credential for a proxy that does, in what it says and about what it takes: one of the
// real gates, always the same for the same path, looks at the request in vain.
func (gw *gateway) unknown(r *http.Request, h *Handler) *exchange.Refusal {
	name, _, _ := gw.proxy(r)
	g := gw.decoy(maphash.String(gw.seed, name))
	reason := fmt.Errorf("%w: there is no proxy %q", ErrRejected, name)
	if len(name) > 64 {
		reason = fmt.Errorf("%w: there is no such proxy", ErrRejected)
	}
	presented := gw.presented(r)
	adm := h.admission(r, g.now())
	adm.inVain = true
	_, err := g.verify(r, &exchange.Exchange{Context: r.Context()}, g.now(), adm)
	h.strip(r)
	switch {
	case errors.Is(err, ErrAbsent), err == nil && !presented:
		reason = fmt.Errorf("%w: there is no proxy of that name either", ErrAbsent)
	case errors.As(err, new(Challenged)): // as a proxy that exists would say it
		reason = err
	case errors.Is(err, errCounted):
		reason = fmt.Errorf("%w%w", reason, errCounted)
	case err != nil && !errors.Is(err, ErrRejected): // throttled, or technical
		reason = err
	}
	return h.refusalFor(g, r, reason, presented)
}

// decoy is one of the real gates, if there are any.
func (gw *gateway) decoy(n uint64) *Gate {
	if gw.directory != nil && (len(gw.sorted) == 0 || n%2 == 0) {
		if g := gw.directory.Any(n / 2); g != nil {
			return g
		}
	}
	if len(gw.sorted) == 0 {
		return gw.nobody
	}
	return gw.sorted[n/2%uint64(len(gw.sorted))]
}

// presented reports whether the request has anything where a credential is usual.
func (gw *gateway) presented(r *http.Request) bool { return anything(r, &gw.face.slots) }

func anything(r *http.Request, s *slots) bool {
	for i := range s.list {
		if _, n := readCarrier(r, s.list[i].in, s.list[i].name); n > 0 {
			return true
		}
	}
	return false
}
