package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

// sort is a sort of calls: what it sends, what it may be answered, and what it depends on.
type sort struct {
	name     string
	usual    []string // outcomes if nothing fails
	needs    []string // parts
	seasonal bool     // the outcome is a matter of the configuration in force
	callers  int
	pause    time.Duration // between the calls of a caller
	path     string        // before the call's name
	anew     bool          // a connection of its own for each call
	// sign puts the credential on a request; caller is the number of the caller.
	sign func(r *http.Request, caller int)
	body func() io.Reader
	slow bool // reads slowly
}

// good tells whether calls are let through if nothing fails.
func (s *sort) good() bool { return s.seasonal || s.usual[0] == granted }

// callers make calls of all sorts until they are stopped.
type callers struct {
	gate   string
	judge  *judge
	bodies *scanner
	seed   uint64

	names []string // of the good ones, who have to be well before a round is over
	count atomic.Int64
	wg    sync.WaitGroup
	stop  context.CancelFunc
	ctx   context.Context
}

// begin has all sorts of calls made.
func (c *callers) begin(sorts []*sort) {
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.names = nil
	n := 0
	for _, s := range sorts {
		for i := range max(s.callers, 1) {
			n++
			name := fmt.Sprintf("%s %d", s.name, i)
			if s.good() {
				c.names = append(c.names, name)
			}
			// each comes from an address of its own, so that the failures of one do not count for others
			address := fmt.Sprintf("198.51.100.%d", n)
			random := rand.New(rand.NewPCG(c.seed, uint64(n)))
			c.wg.Go(func() { c.work(s, i, name, address, random) })
		}
	}
}

func (c *callers) end() {
	c.stop()
	c.wg.Wait()
}

func (c *callers) work(s *sort, number int, name, address string, random *rand.Rand) {
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: s.anew}
	defer transport.CloseIdleConnections()
	client := newClient(transport)
	for c.ctx.Err() == nil {
		wait := s.pause/2 + time.Duration(random.Int64N(int64(s.pause)))
		select {
		case <-time.After(wait):
		case <-c.ctx.Done():
			return
		}
		c.once(client, s, number, name, address)
	}
}

// newClient follows no redirects. It gives up long after the judge has.
func newClient(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport, Timeout: 2 * patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// once makes one call and has it judged.
func (c *callers) once(client *http.Client, s *sort, number int, name, address string) {
	id := mustNotPass
	if s.good() {
		id = mayPass
	}
	id += fmt.Sprint(c.count.Add(1))
	method, body := http.MethodGet, io.Reader(nil)
	if s.body != nil {
		method, body = http.MethodPost, s.body()
	}
	r, err := http.NewRequest(method, "http://"+c.gate, body)
	if err != nil {
		panic(err)
	}
	r.URL.Path = s.path + id
	r.Header.Set(callID, id)
	r.Header.Set("X-Forwarded-For", address)
	s.sign(r, number)
	c.judge.call(c.do(client, s, r, name, id))
}

// do sends a request and says what became of it.
func (c *callers) do(client *http.Client, s *sort, r *http.Request, name, id string) *call {
	out := &call{sort: s, caller: name, id: id, from: time.Now()}
	defer func() { out.to = time.Now() }()
	res, err := client.Do(r)
	if err != nil {
		out.outcome = none
		if strings.Contains(err.Error(), "malformed") {
			out.problem = err.Error()
		}
		return out
	}
	defer res.Body.Close()
	var reader io.Reader = res.Body
	if s.slow {
		reader = slowly{res.Body}
	}
	body, err := io.ReadAll(io.LimitReader(reader, 2*bloat))
	code := res.Header.Get("RR-Proxy-Code")
	out.outcome = fmt.Sprint(res.StatusCode, " ", code)
	out.problem = flaw(res, code, id, body, err == nil)
	if code != "proxy-access-granted" {
		c.bodies.scan("a refusal's body", body)
		for name, values := range res.Header {
			c.bodies.scan("a refusal's "+name, []byte(strings.Join(values, "\n")))
		}
	}
	if err != nil {
		out.outcome = cut
	}
	return out
}

// flaw is what is wrong with an answer, whatever happens around it.
func flaw(res *http.Response, code, id string, body []byte, whole bool) string {
	if code == "proxy-access-granted" {
		if res.Header.Get(seen) != id {
			return fmt.Sprintf("the answer is to another call, %q", res.Header.Get(seen))
		}
		return ""
	}
	if code == "" {
		return "it has no RR-Proxy-Code"
	}
	if !whole {
		return "a refusal's body breaks off"
	}
	var p struct {
		Status int
		Code   string
	}
	switch {
	case res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(body, &p) != nil:
		return fmt.Sprintf("the body is no problem+json: %s %.200s", res.Header.Get("Content-Type"), body)
	case p.Status != res.StatusCode || p.Code != code:
		return fmt.Sprintf("the body says %d %s", p.Status, p.Code)
	case res.StatusCode == http.StatusUnauthorized && res.Header.Get("WWW-Authenticate") == "":
		return "there is no challenge"
	case (code == "verification-unavailable" || code == "too-many-failures") && res.Header.Get("Retry-After") == "":
		return "there is no Retry-After"
	}
	return ""
}

// slowly reads a part, and waits.
type slowly struct{ r io.Reader }

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Millisecond)
	return s.r.Read(p[:min(len(p), 16<<10)])
}

// drip is a body that comes slowly: 64 KiB within a second.
type drip struct{ left int }

func (d *drip) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(60 * time.Millisecond)
	n := min(len(p), 4<<10, d.left)
	clear(p[:n])
	d.left -= n
	return n, nil
}

// held gives a caller the same token for a while, as callers do.
type held struct {
	mu    sync.Mutex
	make  func(caller int) string
	token map[int]string
	since map[int]time.Time
}

func (h *held) get(caller int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.token == nil {
		h.token, h.since = map[int]string{}, map[int]time.Time{}
	}
	if time.Since(h.since[caller]) > 10*time.Second {
		h.token[caller], h.since[caller] = h.make(caller), time.Now()
	}
	return h.token[caller]
}

func useBearer(token func(caller int) string) func(*http.Request, int) {
	return func(r *http.Request, caller int) { r.Header.Set("Authorization", "Bearer "+token(caller)) }
}

func always(token string) func(int) string { return func(int) string { return token } }

// goodSorts are calls that are let through.
func (w *world) goodSorts() []*sort {
	key := func(r *http.Request, _ int) { r.Header.Set("X-API-Key", w.config.agent) }
	who := func(caller int) string { return fmt.Sprintf("svc-%d", caller) }
	jwt := &held{make: func(caller int) string { return w.idp.key().Token(w.idp.claims(who(caller), nil), nil) }}
	opaque := &held{make: func(int) string { return w.idp.issue() }}
	withJWT := useBearer(jwt.get)
	signed := func(r *http.Request, caller int) { withJWT(r, caller); r.Header.Set(subject, who(caller)) }
	usual, quick := []string{granted}, 300*time.Millisecond
	up := func(parts ...string) []string { return append(parts, onUpstream) }
	return []*sort{
		{name: "key", usual: usual, needs: up(), callers: 3, pause: quick, path: "/keyed/x/", sign: key},
		{name: "key, a connection each", usual: usual, needs: up(), pause: quick, path: "/keyed/x/", sign: key, anew: true},
		{name: "key, slow upload", usual: usual, needs: up(), pause: quick, path: "/keyed/x/", sign: key, body: func() io.Reader { return &drip{64 << 10} }},
		{name: "key, slow reader", usual: usual, needs: up(), pause: quick, path: "/keyed/big/", sign: key, slow: true},
		{name: "key, stream", usual: usual, needs: up(), callers: 2, pause: quick, path: "/keyed/stream/", sign: key},
		{name: "seasonal key", seasonal: true, needs: up(onSeason), callers: 2, pause: quick, path: "/keyed/x/", sign: useBearer(always(w.config.caller))},
		{name: "JWT", usual: usual, needs: up(onKeys, onExpiry), callers: 3, pause: quick, path: "/jwt/x/", sign: withJWT},
		{name: "opaque token", usual: usual, needs: up(onAsking, onExpiry), pause: quick, path: "/opaque/x/", sign: useBearer(opaque.get)},
		{name: "oauth2", usual: usual, needs: up(onTokens, onExpiring), callers: 2, pause: quick, path: "/oauth/x/", sign: key},
		{name: "custom_token", usual: usual, needs: up(onLogin, onExpiring), callers: 2, pause: quick, path: "/login/x/", sign: key},
		{name: "minted", usual: usual, needs: up(onKeys, onExpiry, onExpiring), callers: 3, pause: quick, path: "/mint/x/", sign: signed},
		{name: "made by the API", usual: usual, needs: up(), callers: 2, pause: quick, path: "/api/steady/x/", sign: useBearer(always(w.made.key)), body: nil},
	}
}

// badSorts are calls that are never let through, whatever happens.
func (w *world) badSorts() []*sort {
	no := []string{denied}
	jwt := func(over map[string]any, header map[string]any, key func() *idp.Key) func(*http.Request, int) {
		return useBearer(func(int) string { return key().Token(w.idp.claims("svc-0", over), header) })
	}
	past := time.Now().Add(-7 * 24 * time.Hour).Unix()
	unknown := idp.NewKey(w.t, "ES256", "nobody-knows")
	none := []string{throttled, denied}
	list := []*sort{
		{name: "no credential", usual: no, path: "/keyed/x/", sign: func(*http.Request, int) {}},
		{name: "wrong key", usual: no, path: "/keyed/x/", sign: useBearer(func(int) string { return secret(ofCaller) })},
		{name: "two keys", usual: no, path: "/keyed/x/", sign: func(r *http.Request, _ int) {
			r.Header.Set("X-API-Key", w.config.agent)
			r.Header.Set("Authorization", "Bearer "+w.config.caller)
		}},
		{name: "a key twice", usual: no, path: "/keyed/x/", sign: func(r *http.Request, _ int) {
			r.Header["X-Api-Key"] = []string{w.config.agent, w.config.agent}
		}},
		{name: "a denied path", usual: []string{forbidden}, path: "/keyed/denied/", sign: func(r *http.Request, _ int) { r.Header.Set("X-API-Key", w.config.agent) }},
		{name: "a path with dots", usual: []string{badPath}, path: "/keyed/x/../x/", sign: func(r *http.Request, _ int) { r.Header.Set("X-API-Key", w.config.agent) }},
		{name: "unknown proxy", usual: none, needs: []string{onAsking, onKeys, onUnknownKey}, path: "/api/nobody/x/", sign: func(r *http.Request, _ int) {
			r.URL.Path = strings.Replace(r.URL.Path, "nobody", secret("nobody-"), 1) // another one each time
			r.Header.Set("Authorization", "Bearer "+w.made.key)
		}},
		{name: "deleted key", usual: no, path: "/api/steady/x/", sign: useBearer(always(w.made.deleted))},
		{name: "replaced key", usual: no, path: "/api/steady/x/", sign: useBearer(always(w.made.replaced))},
		{name: "expired JWT", usual: none, needs: []string{onKeys}, path: "/jwt/x/", sign: jwt(map[string]any{"exp": past, "iat": past - 60}, nil, w.idp.key)},
		{name: "JWT for another audience", usual: none, needs: []string{onKeys}, path: "/jwt/x/", sign: jwt(map[string]any{"aud": "https://other.example"}, nil, w.idp.key)},
		{name: "JWT of another issuer", usual: none, needs: []string{onKeys}, path: "/jwt/x/", sign: jwt(map[string]any{"iss": "https://other.example"}, nil, w.idp.key)},
		{name: "forged JWT", usual: none, needs: []string{onKeys, onUnknownKey}, path: "/jwt/x/", sign: jwt(nil, nil, func() *idp.Key {
			return w.idp.forger.With("ES256", w.idp.key().ID)
		})},
		{name: "JWT with alg none", usual: none, needs: []string{onKeys}, path: "/mint/x/", sign: jwt(nil, map[string]any{"alg": "none"}, w.idp.key)},
		{name: "JWT with an unknown key", usual: none, needs: []string{onKeys, onUnknownKey}, path: "/jwt/x/", sign: jwt(nil, nil, func() *idp.Key { return unknown })},
		{name: "revoked JWT", usual: none, needs: []string{onKeys}, path: "/jwt/x/", sign: jwt(map[string]any{"jti": w.made.blocked}, nil, w.idp.key)},
		{name: "JWT of a withdrawn key", usual: none, needs: []string{onKeys, onUnknownKey}, path: "/jwt/x/", sign: jwt(nil, nil, func() *idp.Key {
			if k := w.idp.withdrawn(); k != nil && w.settled.Load() {
				return k
			}
			return unknown
		})},
		{name: "revoked opaque token", usual: none, needs: []string{onAsking}, path: "/opaque/x/", sign: useBearer(func(int) string { t := w.idp.issue(); w.idp.revoke(t); return t })},
	}
	for _, s := range list {
		s.pause, s.callers = 900*time.Millisecond, 1
	}
	return list
}
