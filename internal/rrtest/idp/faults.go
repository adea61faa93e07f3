package idp

import (
	"net/http"
	"testing"
	"time"
)

// faults is what the provider does other than it should.
type faults struct {
	hang         chan struct{} // closed when the requests may go on; nil: none hangs
	status       int           // 0: the right one
	header       http.Header   // beside status
	cacheControl string
	raw          map[string][]byte // path → body
}

// Hang leaves every request without an answer until Resume, or until the client leaves.
func (p *Provider) Hang() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.hang == nil {
		p.faults.hang = make(chan struct{})
	}
}

// Resume answers the requests that hang, and the following ones at once.
func (p *Provider) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.hang != nil {
		close(p.faults.hang)
		p.faults.hang = nil
	}
}

// Status answers every request with this status and no body; 0 is the normal answer.
// Headers are written name, value, …: a Location beside a 3xx, a Retry-After beside 503.
func (p *Provider) Status(status int, headers ...string) {
	h := http.Header{}
	for i := 0; i+1 < len(headers); i += 2 {
		h.Add(headers[i], headers[i+1])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.status, p.faults.header = status, h
}

// CacheControl is the header of that name in the answers for documents; "" is none.
func (p *Provider) CacheControl(value string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults.cacheControl = value
}

// SetJWKS answers with these bytes for the key set; nil brings the provider's own back.
func (p *Provider) SetJWKS(raw []byte) { p.setRaw(PathJWKS, raw) }

// SetDiscovery answers with these bytes for both discovery documents; nil brings the
// provider's own back.
func (p *Provider) SetDiscovery(raw []byte) {
	p.setRaw(PathOpenID, raw)
	p.setRaw(PathOAuth, raw)
}

// SetIntrospection answers every introspection with these bytes; nil brings the right
// answers back.
func (p *Provider) SetIntrospection(raw []byte) { p.setRaw(PathIntrospection, raw) }

func (p *Provider) setRaw(path string, raw []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.raw == nil {
		p.faults.raw = map[string][]byte{}
	}
	if raw == nil {
		delete(p.faults.raw, path)
		return
	}
	p.faults.raw[path] = raw
}

// DiscoveryFetches is how often a discovery document was asked for, either of them.
func (p *Provider) DiscoveryFetches() int { return p.count(PathOpenID) + p.count(PathOAuth) }

// JWKSFetches is how often the key set was asked for, however that was answered. A
// connection that is refused while the provider is down is not counted.
func (p *Provider) JWKSFetches() int { return p.count(PathJWKS) }

// IntrospectionCount is how often the introspection endpoint was asked.
func (p *Provider) IntrospectionCount() int { return p.count(PathIntrospection) }

func (p *Provider) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[path]
}

// WaitJWKSFetches waits until the key set was asked for n times.
func (p *Provider) WaitJWKSFetches(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(patience); p.JWKSFetches() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the key set was fetched %d times within %s, not %d", p.JWKSFetches(), patience, n)
		}
	}
}
