package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	// refreshPatience is for how long an answer to a refresh token is waited for that may
	// hold its successor, however long callers wait: who hangs up loses it.
	refreshPatience = 30 * time.Second
	// refreshGrace is for how long the end of the process waits for such an answer.
	refreshGrace = 5 * time.Second
	// refusalLife is for how long a refresh token that was refused is not sent again.
	refusalLife = 10 * time.Minute
	// maxKnown is how many tokens of a chain are recognised.
	maxKnown = 16
)

// ErrNoConsent says that nobody has consented yet.
var ErrNoConsent = errors.New("nobody has consented yet, so there is no refresh token")

type tokenDigest = [sha256.Size]byte

// Chain is a refresh token and those that replace it, one after the other: endpoints that
// rotate refresh tokens take one that comes twice for stolen, and end the grant. All who
// use the same refresh token have to use the same Chain.
type Chain struct {
	// Replaced is called with each new refresh token before it is kept, if set.
	Replaced func(token string)
	// Now is the clock; nil is time.Now.
	Now func() time.Time

	keeper Keeper
	turn   chan struct{} // held by who asks

	// of who has the turn
	unsaved  *unsaved
	refused  tokenDigest
	refusal  error
	askAgain time.Time
	steady   bool // the endpoint does not replace refresh tokens

	mu    sync.Mutex
	known []tokenDigest // of this chain, the first is what the operator gave
}

// unsaved is a successor that the keeper could not take yet.
type unsaved struct {
	before string
	grant  *Grant
}

// NewChain makes a chain of what a keeper has.
func NewChain(k Keeper) *Chain { return &Chain{keeper: k, turn: make(chan struct{}, 1)} }

// Root identifies the consent that a refresh token goes back to: for the tokens that this
// chain has seen follow one another it is the same, for any other a new one.
func (c *Chain) Root(token string) [sha256.Size]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := sha256.Sum256([]byte(token)); !slices.Contains(c.known, d) {
		c.known = []tokenDigest{d}
	}
	return c.known[0]
}

// Current is the root of the consent in use, zero if there is none.
func (c *Chain) Current() (root [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) > 0 {
		root = c.known[0]
	}
	return root
}

func (c *Chain) remember(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) == maxKnown {
		c.known = slices.Delete(c.known, 1, 2)
	}
	c.known = append(c.known, sha256.Sum256([]byte(token)))
}

func (c *Chain) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

// take waits for the turn.
func (c *Chain) take(ctx context.Context) (release func(), err error) {
	select {
	case c.turn <- struct{}{}:
		return func() { <-c.turn }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("an earlier use of the refresh token has not ended: %w", ctx.Err())
	}
}

// Idle reports whether nothing is lost with the chain: nobody asks, and all that was got
// is kept.
func (c *Chain) Idle() bool {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
		return c.unsaved == nil
	default:
		return false
	}
}

// Start keeps what a new consent has given.
func (c *Chain) Start(ctx context.Context, t *AccessToken) error {
	release, err := c.take(ctx)
	if err != nil {
		return err
	}
	defer release()
	old, err := c.keeper.Load(ctx)
	if err != nil {
		return err
	}
	before := ""
	if old != nil {
		before = old.Refresh
	}
	c.unsaved = nil
	g := t.grant(c.now())
	c.Root(cmp.Or(g.Refresh, g.Access))
	return c.keeper.Save(context.WithoutCancel(ctx), before, g)
}

// Token gets an access token. ask sends a refresh token. A refresh token in the answer is
// kept before Token returns; and if ctx ends earlier, that still happens.
func (c *Chain) Token(ctx context.Context, ask func(ctx context.Context, refresh string) (*AccessToken, error)) (*AccessToken, error) {
	release, err := c.take(ctx)
	if err != nil {
		return nil, err
	}
	var answer struct {
		token *AccessToken
		err   error
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer release()
		defer func() {
			if p := recover(); p != nil { // outside a request it would end the process
				answer.err = fmt.Errorf("panic: %v", p)
			}
		}()
		answer.token, answer.err = c.token(ctx, ask)
	}()
	select {
	case <-ended:
		return answer.token, answer.err
	case <-ctx.Done():
	}
	// who ends the process waits a little: nobody could keep the answer afterwards
	if errors.Is(ctx.Err(), context.Canceled) {
		timer := time.NewTimer(refreshGrace)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
		}
	}
	return nil, ctx.Err()
}

// token is Token for who has the turn.
func (c *Chain) token(ctx context.Context, ask func(context.Context, string) (*AccessToken, error)) (*AccessToken, error) {
	g, err := c.load(ctx)
	if err != nil {
		return nil, err
	}
	if g.Refresh == "" {
		return c.lasting(g)
	}
	t, err := c.refresh(ctx, g, ask)
	if err == nil || !isInvalidGrant(err) {
		return t, err
	}
	// somebody else who keeps the grant at the same place may have been faster
	if other, loadErr := c.load(ctx); loadErr == nil && other.Refresh != "" && other.Refresh != g.Refresh {
		return c.refresh(ctx, other, ask)
	}
	return nil, err
}

// load returns the grant, and makes sure that it is the latest.
func (c *Chain) load(ctx context.Context) (*Grant, error) {
	g, err := c.keeper.Load(ctx)
	if err != nil {
		return nil, err
	}
	if u := c.unsaved; u != nil {
		if g != nil && g.Refresh != u.before { // the operator has given another
			c.unsaved = nil
		} else if err := c.save(ctx, u.before, u.grant); err != nil {
			return nil, err
		} else {
			g = u.grant
		}
	}
	if g == nil {
		return nil, ErrNoConsent
	}
	return g, nil
}

// lasting is the access token of a consent that gave nothing else.
func (c *Chain) lasting(g *Grant) (*AccessToken, error) {
	t := &AccessToken{Value: g.Access, Type: g.Type}
	if !g.Expires.IsZero() {
		if t.Life = g.Expires.Sub(c.now()); t.Life <= 0 {
			return nil, errors.New("the token that the consent gave has expired, and it gave no refresh token; a new consent is needed")
		}
	}
	return t, nil
}

func (c *Chain) refresh(ctx context.Context, g *Grant, ask func(context.Context, string) (*AccessToken, error)) (*AccessToken, error) {
	id := sha256.Sum256([]byte(g.Refresh))
	if c.refusal != nil && id == c.refused && c.now().Before(c.askAgain) {
		return nil, fmt.Errorf("%w; it is not asked again before %s, unless there is another refresh token", c.refusal, c.askAgain.UTC().Format(time.TimeOnly))
	}
	if !c.steady {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), refreshPatience)
		defer cancel()
	}
	t, err := ask(ctx, g.Refresh)
	if isInvalidGrant(err) {
		c.refused, c.refusal, c.askAgain = id, err, c.now().Add(refusalLife)
	}
	if err != nil {
		return nil, err
	}
	if c.steady = t.Refresh == "" || t.Refresh == g.Refresh; c.steady {
		return t, nil
	}
	c.remember(t.Refresh)
	if c.Replaced != nil {
		c.Replaced(t.Refresh)
	}
	if err := c.save(ctx, g.Refresh, &Grant{Refresh: t.Refresh}); err != nil {
		return nil, err
	}
	return t, nil
}

// save keeps a successor. One that could not be kept is not forgotten: the one before is
// of no use any more.
func (c *Chain) save(ctx context.Context, before string, g *Grant) error {
	c.unsaved = nil
	if err := c.keeper.Save(context.WithoutCancel(ctx), before, g); err != nil {
		c.unsaved = &unsaved{before, g}
		return fmt.Errorf("the new refresh token cannot be kept, so the access token is not used: %w", err)
	}
	return nil
}

func isInvalidGrant(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Code == "invalid_grant"
}
