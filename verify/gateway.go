package verify

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
	"github.com/caddy-rr/caddy-rr/internal/metrics"
)

// Gateway serves every proxy of the rr app at <prefix>/<name>/….
type Gateway struct {
	// The part of the path before the proxy's name, such as /api. It and the name are
	// removed before rules judge the path and before the request goes on.
	Prefix string `json:"prefix,omitempty"`
}

// gateway is a Gateway with the proxies it leads to.
type gateway struct {
	prefix          string
	gates           map[string]*Gate
	sorted          []*Gate
	plain, rejected []string
	slots           slots // of all gates together
	resource        *resource
	seed            maphash.Seed
}

// unknownSeries counts requests for proxies that do not exist, for ever.
var unknownSeries = metrics.Hold(metrics.Unknown)

func newGateway(c *Gateway, gates map[string]*Gate) (*gateway, error) {
	prefix := strings.TrimSuffix(c.Prefix, "/")
	if prefix != "" && prefix[0] != '/' || strings.ContainsAny(prefix, "*%? {}") {
		return nil, fmt.Errorf("the gateway's prefix %q is not a plain path such as /api", c.Prefix)
	}
	if len(gates) == 0 {
		return nil, errors.New("rr_gateway has no proxy to lead to: the rr app declares none")
	}
	gw := &gateway{prefix: prefix, gates: gates, seed: maphash.MakeSeed()}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		gw.sorted = append(gw.sorted, g)
		gw.plain = union(gw.plain, g.plain)
		gw.rejected = union(gw.rejected, g.rejected)
		gw.resource = gw.resource.join(g.resource)
		for _, x := range g.main.slots.list {
			gw.slots.add([]Carrier{{In: x.in, Name: x.name}})
		}
	}
	return gw, nil
}

func union(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// find returns the gate that the path names and takes prefix and name off the path; nil
// if there is none.
func (gw *gateway) find(r *http.Request) *Gate {
	name, ok := gw.name(r)
	if !ok {
		return nil
	}
	g := gw.gates[name]
	if g == nil {
		return nil
	}
	// neither prefix nor name has a character that could be escaped, so the same
	// number of bytes comes off both forms of the path
	n := len(gw.prefix) + 1 + len(name)
	r.URL.Path = orRoot(r.URL.Path[n:])
	if r.URL.RawPath != "" {
		r.URL.RawPath = orRoot(r.URL.RawPath[n:])
	}
	return g
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func (gw *gateway) name(r *http.Request) (string, bool) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), gw.prefix+"/")
	if !ok || !strings.HasPrefix(r.URL.Path, gw.prefix+"/") {
		return "", false
	}
	name, _, _ := strings.Cut(rest, "/")
	return name, name != "" && !strings.Contains(name, "%")
}

// unknown refuses a request for a proxy that does not exist exactly as one with a wrong
// credential for a proxy that does, in what it says and about what it takes: one of the
// real gates, always the same for the same path, looks at the request in vain.
func (gw *gateway) unknown(r *http.Request, h *Handler) *exchange.Refusal {
	name, _ := gw.name(r)
	g := gw.sorted[maphash.String(gw.seed, name)%uint64(len(gw.sorted))]
	reason := fmt.Errorf("%w: there is no proxy %q", ErrRejected, name)
	if len(name) > 64 {
		reason = fmt.Errorf("%w: there is no such proxy", ErrRejected)
	}
	presented := gw.presented(r)
	_, err := g.verify(r, &exchange.Exchange{Context: r.Context()}, g.now(), h.admission(r, g.now()))
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

// presented reports whether the request has anything where any of the proxies looks for
// a credential.
func (gw *gateway) presented(r *http.Request) bool {
	for _, x := range gw.slots.list {
		if _, n := readCarrier(r, x.in, x.name); n > 0 {
			return true
		}
	}
	return false
}

func (gw *gateway) challenges(rejected bool) []string {
	if rejected {
		return gw.rejected
	}
	return gw.plain
}
