package inject

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/redact"
)

const (
	// keptFor is for how long a chain that nobody uses is remembered: longer than an answer
	// is waited for that may hold the next refresh token.
	keptFor = time.Minute
	// keptMost is for how long it is remembered if it has a refresh token that the host
	// could not keep yet.
	keptMost = time.Hour
)

// keptChain is the chain of a record's grant, which the host keeps. All OAuth2 of the same
// record have the same, also those of several configurations.
type keptChain struct {
	key    [sha256.Size]byte
	chain  *oauth.Chain
	keeper hostKeeper

	// turn is held while users take over a definition
	turn     sync.Mutex
	consents atomic.Uint64

	// under keptChains.mu
	users map[*OAuth2]bool
	left  time.Time // when the last of them left
	timer *time.Timer
}

// keptChains are the chains of records, of those in use and of those that were lately.
var keptChains = struct {
	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*keptChain
}{byKey: map[[sha256.Size]byte]*keptChain{}}

// keep joins the chain of a record's grant. What is only tried out has one of its own,
// which is forgotten.
func (o *OAuth2) keep(ctx context.Context) {
	if !host.Untrusted(ctx) || !o.refreshes() {
		return
	}
	// a grant is for whom and what it was given for: a record that asks somebody else, or
	// for something else, has none
	granted, seed := o.consented(), ""
	if o.grant() == oauth.RefreshToken {
		seed = o.secrets.get("refresh_token")
		granted = []string{"refresh", o.TokenURL, o.Issuer, o.secrets.get("client_id"), seed}
	}
	part := chainKey(granted...)
	record, keeper := host.GrantsOf(ctx)
	if keeper == nil {
		var own [sha256.Size]byte
		_, _ = rand.Read(own[:]) // never fails (Go 1.24)
		o.kept = newKept(own, seed)
		o.kept.keeper.use(oauth.Memory(nil))
		return
	}
	text := hex.EncodeToString(part[:])
	o.kept = joinKept(o, chainKey("record", record, text), seed, keeper(text))
}

func newKept(key [sha256.Size]byte, seed string) *keptChain {
	k := &keptChain{key: key, users: map[*OAuth2]bool{}}
	k.keeper.seed = seed
	k.chain = oauth.NewChain(&k.keeper)
	return k
}

// joinKept finds or makes a chain, and has it use the keeper, which is the latest.
func joinKept(o *OAuth2, key [sha256.Size]byte, seed string, keeper oauth.Keeper) *keptChain {
	keptChains.mu.Lock()
	defer keptChains.mu.Unlock()
	k := keptChains.byKey[key]
	if k == nil {
		k = newKept(key, seed)
		keptChains.byKey[key] = k
	}
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	k.users[o] = true
	k.keeper.use(keeper)
	return k
}

// leave ends o's use of the chain.
func (k *keptChain) leave(o *OAuth2) {
	keptChains.mu.Lock()
	defer keptChains.mu.Unlock()
	if keptChains.byKey[k.key] != k { // it has the chain for itself
		k.keeper.forget()
	}
	if !k.users[o] {
		return
	}
	delete(k.users, o)
	if len(k.users) == 0 {
		k.left = time.Now()
		k.timer = time.AfterFunc(keptFor, k.expire)
	}
}

// expire forgets a chain that nobody uses, unless something would be lost with it.
func (k *keptChain) expire() {
	keptChains.mu.Lock()
	defer keptChains.mu.Unlock()
	if len(k.users) > 0 || time.Since(k.left) < keptFor { // somebody has come meanwhile
		return
	}
	if !k.chain.Idle() && time.Since(k.left) < keptMost {
		k.timer = time.AfterFunc(keptFor, k.expire)
		return
	}
	delete(keptChains.byKey, k.key)
	k.keeper.forget()
}

// root stands for what the tokens go back to.
func (k *keptChain) root() [sha256.Size]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64(k.key[:], k.consents.Load()))
}

// consented has all who use the chain take over a new consent at once. Tokens of the
// consent before are dropped, and so is what is remembered of failures.
func (k *keptChain) consented(o *OAuth2) error {
	k.turn.Lock()
	defer k.turn.Unlock()
	k.consents.Add(1)
	keptChains.mu.Lock()
	users := []*OAuth2{o}
	for other := range k.users {
		if other != o {
			users = append(users, other)
		}
	}
	keptChains.mu.Unlock()
	var errs []error
	for _, u := range users {
		errs = append(errs, u.again())
	}
	return errors.Join(errs...)
}

// hostKeeper keeps a grant at the host of the latest configuration, and its tokens out of
// logs.
type hostKeeper struct {
	seed    string // the refresh token in the record, empty for a consent
	current atomic.Pointer[oauth.Keeper]

	mu     sync.Mutex
	latest [sha256.Size]byte
	hidden [2]func() // releases of the latest tokens
}

func (h *hostKeeper) use(k oauth.Keeper) { h.current.Store(&k) }

// Load implements oauth.Keeper. The refresh token in the record is the grant until
// another has taken its place.
func (h *hostKeeper) Load(ctx context.Context) (*oauth.Grant, error) {
	g, err := (*h.current.Load()).Load(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("what a consent has given cannot be read: %w", err)
	case g == nil && h.seed != "":
		g = &oauth.Grant{Refresh: h.seed}
	case g == nil:
		return nil, nil
	}
	h.hide(g)
	return g, nil
}

// Save implements oauth.Keeper.
func (h *hostKeeper) Save(ctx context.Context, before string, g *oauth.Grant) error {
	h.hide(g)
	return (*h.current.Load()).Save(ctx, before, g)
}

// hide keeps a grant's token out of logs, and no longer the one before the last.
func (h *hostKeeper) hide(g *oauth.Grant) {
	token := cmp.Or(g.Refresh, g.Access)
	h.mu.Lock()
	defer h.mu.Unlock()
	if sum := sha256.Sum256([]byte(token)); sum != h.latest {
		h.latest = sum
		if gone := h.hidden[0]; gone != nil {
			gone()
		}
		h.hidden[0] = h.hidden[1]
		h.hidden[1], _ = redact.Default().AddGuestSecret(token)
	}
}

func (h *hostKeeper) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, release := range h.hidden {
		if release != nil {
			release()
		}
		h.hidden[i] = nil
	}
}
