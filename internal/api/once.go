package api

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/catalog"
	"github.com/caddy-rr/caddy-rr/store"
)

const (
	// keepReplies is how long an answer is kept for requests with the same key.
	keepReplies = 24 * time.Hour
	// maxReplies is how many answers are kept.
	maxReplies = 10_000
	// maxClientReplies is how many are kept of requests about one client.
	maxClientReplies = 1_000
	// maxReply is how large a kept answer may be, in bytes.
	maxReply = 1 << 20
	// maxKey is how long a key may be.
	maxKey = 255
	// sweepEvery is how often answers are removed that are too old.
	sweepEvery = 10 * time.Minute
	// sweepBatch is how many are removed at once.
	sweepBatch = 500
)

// reply is what the store keeps of a request with an Idempotency-Key, written together with
// what the request has changed. It is sealed: an answer may show a key that was made.
type reply struct {
	Request   []byte    `json:"request"`          // hash of what was asked for
	Client    string    `json:"client,omitempty"` // that it was about; empty: none
	About     []subject `json:"about,omitempty"`
	ExpiresAt time.Time `json:"expires_at"` // housekeeping looks for it
	Status    int       `json:"status"`
	ETag      string    `json:"etag,omitempty"`
	Location  string    `json:"location,omitempty"`
	Body      []byte    `json:"body"`
}

// subject is a record that an answer tells of.
type subject struct {
	Kind   string `json:"kind"`
	Client string `json:"client"`
	ID     string `json:"id"`
}

// attempt is a request with an Idempotency-Key.
type attempt struct {
	id      string // in the store
	request []byte
	version uint64 // of an answer that is too old, which the new one replaces
	status  int    // of a success
	client  string
	about   []subject
}

type attemptKey struct{}

// tells notes that the answer to a request tells of a record.
func tells(ctx context.Context, kind string, head *store.Head) {
	if a, is := ctx.Value(attemptKey{}).(*attempt); is {
		a.about = append(a.about, subject{kind, head.Client, head.ID})
	}
}

// once serves a request with an Idempotency-Key: the first of its kind is executed, and
// whoever asks again for the same gets its answer. What failed has changed nothing, and may
// be tried again.
func (h *handler) once(op *operation, keys []string, body []byte, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	if len(keys) != 1 || !plainKey(keys[0]) {
		badParameter("Idempotency-Key", "it has to be one text of 1 to %d printable ASCII characters", maxKey).write(w)
		return
	}
	sum := sha256.Sum256(slices.Concat([]byte(r.URL.RawQuery), []byte{0}, body))
	a := &attempt{id: replyID(r, keys[0]), request: sum[:], status: op.status, client: r.PathValue("client")}
	if !h.replies.begin(a.id) {
		stillRunning().write(w)
		return
	}
	defer h.replies.end(a.id)
	old, err := h.replies.find(r.Context(), h, a)
	if err == nil && old == nil {
		err = h.replies.room(r.Context(), h, a.client)
	}
	switch {
	case err != nil:
		h.problem(r.Context(), op, err).write(w)
	case old != nil:
		if err := h.there(r.Context(), old.About); err != nil {
			h.problem(r.Context(), op, err).write(w)
			return
		}
		old.answer(a, w)
	default:
		serve(w, r.WithContext(context.WithValue(r.Context(), attemptKey{}, a)))
	}
}

// there makes sure that there still is what an answer tells of: what was deleted is not shown
// again, and its secret even less.
func (h *handler) there(ctx context.Context, about []subject) error {
	for _, x := range about {
		var err error
		switch x.Kind {
		case store.Clients:
			_, err = h.clients.get(ctx, "", x.ID)
		case store.Credentials:
			_, err = h.credentials.get(ctx, x.Client, x.ID)
		case store.Targets:
			_, err = h.targets.get(ctx, x.Client, x.ID)
		case store.Proxies:
			_, err = h.proxies.get(ctx, x.Client, x.ID)
		case store.Blocked:
			_, err = h.blocks.get(ctx, x.Client, x.ID)
		}
		if errors.Is(err, store.ErrNotFound) {
			return problem(codeNotFound, "what the first request with this Idempotency-Key has made or changed was deleted since: a new request needs a new key")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// plainKey reports whether a key may be one: printable ASCII.
func plainKey(key string) bool {
	return len(key) > 0 && len(key) <= maxKey && !slices.ContainsFunc([]byte(key), func(c byte) bool { return c < 0x20 || c > 0x7e })
}

// replyID is the store's key for an Idempotency-Key: each principal has its own, for each
// path.
func replyID(r *http.Request, key string) string {
	who := principalOf(r.Context()).Actor
	sum := sha256.New()
	for _, part := range []string{who.Kind, who.Name, r.Method, r.URL.Path, key} {
		sum.Write([]byte(strconv.Itoa(len(part)) + ":" + part))
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func stillRunning() *Problem {
	return problem(codeRunning, "a request with this Idempotency-Key has no answer yet").again(time.Second)
}

// answer answers with what is kept, if it is of the same request.
func (p *reply) answer(a *attempt, w http.ResponseWriter) {
	if !bytes.Equal(p.Request, a.request) {
		reused := problem(codeKeyReused, "")
		reused.Errors = []Fault{{Parameter: "Idempotency-Key", Detail: "it came before with another query or body: each request needs its own"}}
		reused.write(w)
		return
	}
	head := w.Header()
	head.Set("Content-Type", jsonType)
	head.Set("Idempotency-Replayed", "true")
	for name, value := range map[string]string{"ETag": p.ETag, "Location": p.Location} {
		if value != "" {
			head.Set(name, value)
		}
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.Body) // whoever asked may be gone
}

// change has f change the catalogue for the principal of a request. The answer is kept
// with the change if the request has an Idempotency-Key: a crash leaves both, or none.
func change[E any](ctx context.Context, h *handler, f func(Tx) (*recordOut[E], error)) (*recordOut[E], error) {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	var out *recordOut[E]
	err := h.catalogue.Change(ctx, principalOf(ctx).Actor, func(tx Tx) (err error) {
		if a != nil {
			a.about = nil // it may run twice
		}
		if out, err = f(tx); err != nil || a == nil {
			return err
		}
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(out.Body); err != nil || text.Len() > maxReply {
			return cmp.Or(err, error(problem(codeTooLarge, "the answer is too large for an Idempotency-Key: send the request without one")))
		}
		tx.Keep(store.Replies, a.id, a.version, a.version+1, reply{
			Request: a.request, Client: a.client, About: slices.Clone(a.about), ExpiresAt: h.now().Add(keepReplies).UTC(),
			Status: a.status, ETag: out.ETag, Location: out.Location, Body: text.Bytes(),
		})
		return nil
	})
	if errors.Is(err, store.ErrConflict) && a != nil {
		// another node may have been quicker with the same request
		if old, e := h.replies.find(ctx, h, a); e == nil && old != nil {
			return nil, stillRunning()
		}
	}
	return out, err
}

// replies bounds what is kept, and knows which requests with a key are running.
type replies struct {
	mu      sync.Mutex
	running map[string]bool
	sweep   time.Time      // when to look again for what is too old
	count   map[string]int // how many there are of each client, as far as is known
	all     int            // and in all
}

func (x *replies) begin(id string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running[id] {
		return false
	}
	x.running[id] = true
	return true
}

func (x *replies) end(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.running, id)
}

// find returns the answer that is kept for a request, nil if there is none.
func (x *replies) find(ctx context.Context, h *handler, a *attempt) (*reply, error) {
	var old reply
	s := h.catalogue.Store()
	if s == nil {
		return nil, catalog.ErrClosed
	}
	version, err := s.Get(ctx, store.Replies, a.id, &old)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case h.now().Before(old.ExpiresAt):
		return &old, nil
	}
	a.version = version
	return nil, nil
}

// room makes sure that one more answer may be kept of a client. No client's answers go for
// another's, unless there are very many clients: then those go first that have the most.
func (x *replies) room(ctx context.Context, h *handler, client string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := h.now()
	if now.Before(x.sweep) && x.all < maxReplies && x.count[client] < maxClientReplies {
		x.count[client]++
		x.all++
		return nil
	}
	s := h.catalogue.Store()
	if s == nil {
		return catalog.ErrClosed
	}
	kept, err := sweepReplies(ctx, s, now)
	if err != nil {
		return err
	}
	kept[client]++
	x.sweep, x.count, x.all = now.Add(sweepEvery), kept, 0
	for _, n := range kept {
		x.all += n
	}
	return nil
}

// sweepReplies removes the answers that are too old, and the oldest ones of clients that
// have too many; it returns how many stay of each.
func sweepReplies(ctx context.Context, s *store.Store, now time.Time) (kept map[string]int, err error) {
	type place struct {
		key       string
		expiresAt time.Time
	}
	stay := map[string][]place{}
	var drop []store.Put
	for sealed, err := range s.List(ctx, store.Replies, "") {
		var old struct {
			Client    string    `json:"client"`
			ExpiresAt time.Time `json:"expires_at"`
		}
		if err != nil {
			return nil, err
		}
		if sealed.Open(&old) == nil && now.Before(old.ExpiresAt) {
			stay[old.Client] = append(stay[old.Client], place{sealed.Key, old.ExpiresAt})
		} else {
			drop = append(drop, store.Put{Bucket: store.Replies, Key: sealed.Key, Expect: store.Any})
		}
	}
	kept = map[string]int{}
	for client, list := range stay {
		kept[client] = len(list)
	}
	quota(kept, maxClientReplies, maxReplies)
	for client, list := range stay {
		slices.SortFunc(list, func(a, b place) int { return b.expiresAt.Compare(a.expiresAt) })
		for _, p := range list[kept[client]:] {
			drop = append(drop, store.Put{Bucket: store.Replies, Key: p.key, Expect: store.Any})
		}
	}
	for batch := range slices.Chunk(drop, sweepBatch) {
		if _, err := s.Apply(ctx, batch...); err != nil {
			return nil, err
		}
	}
	return kept, nil
}

// quota makes counts of clients smaller, so that each has room for some more below a bound,
// and all together below another. The largest become smaller first.
func quota(counts map[string]int, each, all int) {
	sum := func(most int) (n int) {
		for _, count := range counts {
			n += min(count, most)
		}
		return n
	}
	most := each
	for _, count := range counts {
		if count >= each {
			most = each * 9 / 10
		}
	}
	if sum(most) >= all {
		for most > 0 && sum(most) > all*9/10 {
			most = most * 9 / 10
		}
	}
	for client, count := range counts {
		counts[client] = min(count, most)
	}
}
