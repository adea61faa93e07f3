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
	Request  []byte    `json:"request"` // hash of what was asked for
	Until    time.Time `json:"until"`
	Status   int       `json:"status"`
	ETag     string    `json:"etag,omitempty"`
	Location string    `json:"location,omitempty"`
	Body     []byte    `json:"body"`
}

// attempt is a request with an Idempotency-Key.
type attempt struct {
	id      string // in the store
	request []byte
	version uint64 // of an answer that is too old, which the new one replaces
	status  int    // of a success
}

type attemptKey struct{}

// once serves a request with an Idempotency-Key: the first of its kind is executed, and
// whoever asks again for the same gets its answer. What failed has changed nothing, and may
// be tried again.
func (h *handler) once(op *operation, keys []string, body []byte, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	if len(keys) != 1 || !plainKey(keys[0]) {
		badParameter("Idempotency-Key", "it has to be one text of 1 to %d printable ASCII characters", maxKey).write(w)
		return
	}
	sum := sha256.Sum256(slices.Concat([]byte(r.URL.RawQuery), []byte{0}, body))
	a := &attempt{id: replyID(r, keys[0]), request: sum[:], status: op.status}
	if !h.replies.begin(a.id) {
		stillRunning().write(w)
		return
	}
	defer h.replies.end(a.id)
	old, err := h.replies.find(r.Context(), h, a)
	if err == nil && old == nil {
		err = h.replies.room(r.Context(), h)
	}
	switch {
	case err != nil:
		h.problem(r.Context(), op, err).write(w)
	case old != nil:
		old.answer(a, w)
	default:
		serve(w, r.WithContext(context.WithValue(r.Context(), attemptKey{}, a)))
	}
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
			Request: a.request, Until: h.now().Add(keepReplies), Status: a.status, ETag: out.ETag, Location: out.Location, Body: text.Bytes(),
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
	sweep   time.Time // when to look again for what is too old
	count   int       // how many there are, as far as is known
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
	case h.now().Before(old.Until):
		return &old, nil
	}
	a.version = version
	return nil, nil
}

// room makes sure that one more answer may be kept.
func (x *replies) room(ctx context.Context, h *handler) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := h.now()
	if x.count++; now.Before(x.sweep) && x.count < maxReplies {
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
	x.sweep, x.count = now.Add(sweepEvery), kept+1
	return nil
}

// sweepReplies removes the answers that are too old, and the oldest ones if there are too
// many; it returns how many stay.
func sweepReplies(ctx context.Context, s *store.Store, now time.Time) (kept int, err error) {
	type place struct {
		key   string
		until time.Time
	}
	var stay []place
	var drop []store.Put
	for sealed, err := range s.List(ctx, store.Replies, "") {
		var old struct {
			Until time.Time `json:"until"`
		}
		if err != nil {
			return 0, err
		}
		if sealed.Open(&old) == nil && now.Before(old.Until) {
			stay = append(stay, place{sealed.Key, old.Until})
		} else {
			drop = append(drop, store.Put{Bucket: store.Replies, Key: sealed.Key, Expect: store.Any})
		}
	}
	if most := maxReplies * 9 / 10; len(stay) > most {
		slices.SortFunc(stay, func(a, b place) int { return b.until.Compare(a.until) })
		for _, p := range stay[most:] {
			drop = append(drop, store.Put{Bucket: store.Replies, Key: p.key, Expect: store.Any})
		}
		stay = stay[:most]
	}
	for batch := range slices.Chunk(drop, sweepBatch) {
		if _, err := s.Apply(ctx, batch...); err != nil {
			return 0, err
		}
	}
	return len(stay), nil
}
