// Package metrics holds every Prometheus collector and label of rr. The collectors are
// made once per process and registered with each configuration's registry, so that a
// reload neither resets nor loses a series. Labels come from the configuration and from
// fixed sets only.
package metrics

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Inline is the proxy label of handlers that are configured inline, without a name.
const Inline = "_inline"

// Unknown is the proxy label of requests for a proxy that does not exist.
const Unknown = "_unknown"

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "requests_total",
		Help: "Requests by proxy and outcome (the code of RR-Proxy-Code).",
	}, []string{"proxy", "outcome"})

	verifySeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "verify_duration_seconds",
		Help:    "Time spent to verify the caller and judge the rules of rr_verify.",
		Buckets: []float64{.000005, .00001, .00005, .0001, .0005, .001, .01, .1, 1},
	}, []string{"proxy"})

	upstreamSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "upstream_duration_seconds",
		Help:    "Time until the upstream's response headers arrived, by attempt.",
		Buckets: prometheus.DefBuckets,
	}, []string{"proxy"})

	throttled = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "caddy", Subsystem: "rr", Name: "throttled_total",
		Help: "Requests refused because their address had too many failed authentications.",
	})
)

var collectors = []prometheus.Collector{
	requests, verifySeconds, upstreamSeconds, throttled,
	tokenFetches, tokenRetries, tokenObtained, tokenExpiry,
}

// Register makes rr's collectors known to a configuration's registry. A nil registry
// (bare test contexts have none) is nothing to do.
func Register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	for _, c := range collectors {
		if err := reg.Register(c); err != nil && !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return err
		}
	}
	return nil
}

// Proxy is one proxy's series, bound once so that a request looks nothing up.
type Proxy struct {
	name     string
	granted  prometheus.Counter
	outcomes sync.Map // other outcomes, string → prometheus.Counter
	verify   prometheus.Observer
	upstream prometheus.Observer
}

var (
	mu      sync.Mutex
	proxies = map[string]*held{}
)

type held struct {
	proxy *Proxy
	count int
}

// Hold returns the series of the proxy with this name and keeps them until the matching
// Release; while anybody holds them, across reloads, they go on counting.
func Hold(name string) *Proxy {
	mu.Lock()
	defer mu.Unlock()
	h := proxies[name]
	if h == nil {
		h = &held{proxy: &Proxy{
			name:     name,
			granted:  requests.WithLabelValues(name, Granted),
			verify:   verifySeconds.WithLabelValues(name),
			upstream: upstreamSeconds.WithLabelValues(name),
		}}
		proxies[name] = h
	}
	h.count++
	return h.proxy
}

// Release gives a Hold back. The series of a proxy that no configuration holds are
// deleted, so that label values stay bounded by what is configured.
func Release(p *Proxy) {
	mu.Lock()
	defer mu.Unlock()
	h := proxies[p.name]
	if h == nil || h.proxy != p {
		return
	}
	if h.count--; h.count > 0 {
		return
	}
	delete(proxies, p.name)
	labels := prometheus.Labels{"proxy": p.name}
	requests.DeletePartialMatch(labels)
	verifySeconds.DeletePartialMatch(labels)
	upstreamSeconds.DeletePartialMatch(labels)
}

// Granted is the outcome of a request that went to the upstream.
const Granted = "proxy-access-granted"

// Outcome counts a request; code is one of the fixed codes of package exchange.
func (p *Proxy) Outcome(code string) {
	if code == Granted {
		p.granted.Inc()
		return
	}
	c, ok := p.outcomes.Load(code)
	if !ok {
		c, _ = p.outcomes.LoadOrStore(code, requests.WithLabelValues(p.name, code))
	}
	c.(prometheus.Counter).Inc()
}

// Verified observes how long verification took.
func (p *Proxy) Verified(d time.Duration) { p.verify.Observe(d.Seconds()) }

// Upstream observes how long the upstream's headers took.
func (p *Proxy) Upstream(d time.Duration) { p.upstream.Observe(d.Seconds()) }

// Throttled counts a request refused for its address's failures.
func Throttled() { throttled.Inc() }
