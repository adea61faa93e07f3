package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDisk = errors.New("no space left on device")

// rotating is an endpoint that replaces refresh tokens and ends the grant when one comes
// twice; and it is the keeper.
type rotating struct {
	Keeper
	mu      sync.Mutex
	current string
	n       int
	ended   bool
	broken  bool // cannot keep
	blind   bool // cannot even be asked whether it could
	events  []string
	takes   time.Duration
	keepsIt bool // does not replace
}

func newRotating() *rotating {
	return &rotating{Keeper: Memory(&Grant{Refresh: "rt-0"}), current: "rt-0"}
}

func (r *rotating) ask(ctx context.Context, refresh string) (*AccessToken, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(r.takes):
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, "ask "+refresh)
	if r.ended || refresh != r.current {
		r.ended = true
		return nil, fmt.Errorf("as.example: %w", &Failure{Status: 400, Code: "invalid_grant"})
	}
	r.n++
	t := &AccessToken{Value: fmt.Sprint("at-", r.n), Type: "Bearer"}
	if !r.keepsIt {
		r.current = fmt.Sprint("rt-", r.n)
		t.Refresh = r.current
	}
	return t, nil
}

func (r *rotating) Load(ctx context.Context) (*Grant, error) {
	if r.blind {
		return nil, errDisk
	}
	return r.Keeper.Load(ctx)
}

func (r *rotating) Save(ctx context.Context, before string, g *Grant) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, "save "+g.Refresh)
	if r.broken {
		return errDisk
	}
	return r.Keeper.Save(ctx, before, g)
}

func (r *rotating) want(t *testing.T, events ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got, want := strings.Join(r.events, ", "), strings.Join(events, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r.events = nil
}

// token gets a token from a chain and tells it, or the error.
func token(ctx context.Context, c *Chain, r *rotating) string {
	t, err := c.Token(ctx, func(ctx context.Context, refresh string) (*AccessToken, error) {
		t, err := r.ask(ctx, refresh)
		return t, err
	})
	if err != nil {
		return err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, "got "+t.Value)
	return t.Value
}

func TestChainKeepsTheSuccessorFirst(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	var replaced []string
	c.Replaced = func(token string) { replaced = append(replaced, token) }
	root := c.Root("rt-0")
	for range 2 {
		token(t.Context(), c, r)
	}
	r.want(t, "ask rt-0", "save rt-1", "got at-1", "ask rt-1", "save rt-2", "got at-2")
	if c.Root("rt-2") != root || c.Root("rt-1") != root || c.Current() != root {
		t.Error("a successor has another root")
	}
	if c.Root("another") == root {
		t.Error("another refresh token has the same root")
	}
	if strings.Join(replaced, " ") != "rt-1 rt-2" {
		t.Errorf("replaced: %v", replaced)
	}
	r.keepsIt = true
	token(t.Context(), c, r)
	r.want(t, "ask rt-2", "got at-3")
}

// TestChainSerialises has many users of one refresh token at once.
func TestChainSerialises(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			if got := token(t.Context(), c, r); !strings.HasPrefix(got, "at-") {
				t.Error(got)
			}
		})
	}
	wait.Wait()
	if r.n != 50 || r.ended {
		t.Errorf("%d tokens, ended %v", r.n, r.ended)
	}
}

func TestChainDoesNotUseWhatCannotBeKept(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	r.blind = true
	if got := token(t.Context(), c, r); got != errDisk.Error() {
		t.Error(got)
	}
	r.want(t) // nothing was sent: the refresh token is as good as before
	r.blind, r.broken = false, true
	for range 2 { // the second time, too, the old one is not sent again
		if got := token(t.Context(), c, r); !strings.Contains(got, "cannot be kept") || !strings.Contains(got, errDisk.Error()) {
			t.Error(got)
		}
	}
	r.want(t, "ask rt-0", "save rt-1", "save rt-1")
	r.broken = false
	if got := token(t.Context(), c, r); got != "at-2" {
		t.Error(got)
	}
	r.want(t, "save rt-1", "ask rt-1", "save rt-2", "got at-2")
}

// TestChainLeavesANewConsent: what the operator puts in the place stays, whatever comes
// back for the old one.
func TestChainLeavesANewConsent(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	r.broken = true
	token(t.Context(), c, r)
	r.Keeper, r.broken, r.current, r.events = Memory(&Grant{Refresh: "new"}), false, "new", nil
	token(t.Context(), c, r)
	r.want(t, "ask new", "save rt-2", "got at-2")

	r.Keeper = Memory(&Grant{Refresh: "newer"})
	if err := r.Save(t.Context(), "rt-2", &Grant{Refresh: "rt-3"}); err != nil {
		t.Fatal(err)
	}
	if g, _ := r.Keeper.Load(t.Context()); g.Refresh != "newer" {
		t.Error("a successor has taken the place of another grant")
	}
}

// TestChainDoesNotHammer: a grant that has ended is left alone until there is another.
func TestChainDoesNotHammer(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	now := at
	c.Now = func() time.Time { return now }
	r.ended = true
	for range 3 {
		got := token(t.Context(), c, r)
		if !strings.Contains(got, "invalid_grant") {
			t.Error(got)
		}
	}
	r.want(t, "ask rt-0")
	_, err := c.Token(t.Context(), r.ask)
	if f := (*Failure)(nil); !errors.As(err, &f) || !f.Permanent() || !strings.Contains(err.Error(), "not asked again before 08:10:00") {
		t.Errorf("remembered as %v", err)
	}
	now = now.Add(refusalLife)
	token(t.Context(), c, r)
	r.want(t, "ask rt-0")
	r.ended, r.current = false, "other"
	r.Keeper = Memory(&Grant{Refresh: "other"})
	token(t.Context(), c, r)
	r.want(t, "ask other", "save rt-1", "got at-1")
}

// Two instances refreshed the same grant at once; the second one used a token that was over, and the server ended the
// grant.
// Sources: giantswarm/mcp-oauth#514, PrefectHQ/fastmcp#4901
// Here: When another process was quicker, what it has kept is read and used.
// Topic: refresh
func TestPeer_mcp_oauth_514_TwoProcessesOneGrant(t *testing.T) {
	r := newRotating()
	c := NewChain(r)
	calls := 0
	got, err := c.Token(t.Context(), func(ctx context.Context, refresh string) (*AccessToken, error) {
		if calls++; calls == 1 {
			r.Keeper, r.current = Memory(&Grant{Refresh: "theirs"}), "theirs"
			return nil, &Failure{Status: 400, Code: "invalid_grant"}
		}
		return r.ask(ctx, refresh)
	})
	if err != nil || got.Value != "at-1" || calls != 2 {
		t.Errorf("%v %v after %d calls", got, err, calls)
	}
	r.want(t, "ask theirs", "save rt-1")
}

// TestChainOutwaitsItsCallers: an answer that comes when nobody waits any more is kept.
func TestChainOutwaitsItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotating()
		c := NewChain(r)
		r.takes = 20 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if got := token(ctx, c, r); got != context.DeadlineExceeded.Error() || time.Since(began) != 5*time.Second {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		later, cancelLater := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancelLater()
		if got := token(later, c, r); !strings.Contains(got, "has not ended") {
			t.Error(got)
		}
		r.want(t)
		time.Sleep(15 * time.Second)
		synctest.Wait()
		r.want(t, "ask rt-0", "save rt-1")
		r.takes = 0
		token(t.Context(), c, r)
		r.want(t, "ask rt-1", "save rt-2", "got at-2")

		// who ends the process waits a little
		r.takes = 3 * time.Second
		ending, end := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, end)
		began = time.Now()
		token(ending, c, r)
		if time.Since(began) != 3*time.Second {
			t.Errorf("ended after %v", time.Since(began))
		}
		r.want(t, "ask rt-2", "save rt-3")
		r.takes = time.Minute
		ending, end = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, end)
		began = time.Now()
		token(ending, c, r)
		if time.Since(began) != time.Second+refreshGrace {
			t.Errorf("ended after %v", time.Since(began))
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r.want(t) // its time was over

		// an endpoint that does not replace them is hung up on
		r.takes, r.keepsIt = 0, true
		token(t.Context(), c, r)
		r.want(t, "ask rt-3", "got at-4")
		r.takes = time.Minute
		ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		token(ctx, c, r)
		synctest.Wait()
		r.takes = 0
		token(t.Context(), c, r)
		r.want(t, "ask rt-3", "got at-5")
	})
}

func TestChainOfAConsent(t *testing.T) {
	now := at
	c := NewChain(Memory(nil))
	c.Now = func() time.Time { return now }
	never := func(context.Context, string) (*AccessToken, error) {
		t.Error("something was sent")
		return nil, errDisk
	}
	if _, err := c.Token(t.Context(), never); !errors.Is(err, ErrNoConsent) || c.Current() != [32]byte{} {
		t.Errorf("before a consent: %v", err)
	}
	// GitHub's: no refresh token
	if err := c.Start(t.Context(), &AccessToken{Value: "gho", Type: "Bearer", Life: time.Hour}); err != nil {
		t.Fatal(err)
	}
	first := c.Current()
	now = now.Add(10 * time.Minute)
	if got, err := c.Token(t.Context(), never); err != nil || got.Value != "gho" || got.Life != 50*time.Minute {
		t.Errorf("%+v %v", got, err)
	}
	now = now.Add(time.Hour)
	if _, err := c.Token(t.Context(), never); err == nil || !strings.Contains(err.Error(), "a new consent is needed") {
		t.Error(err)
	}
	r := newRotating()
	if err := c.Start(t.Context(), &AccessToken{Value: "at", Refresh: "rt-0"}); err != nil {
		t.Fatal(err)
	}
	if c.Current() == first {
		t.Error("a new consent has the old root")
	}
	if got := token(t.Context(), c, r); got != "at-1" {
		t.Error(got)
	}
	if _, err := c.Token(t.Context(), func(context.Context, string) (*AccessToken, error) { panic("x") }); err == nil || !strings.Contains(err.Error(), "panic") {
		t.Errorf("a panic: %v", err)
	}
	for _, text := range []string{fmt.Sprint(&Grant{Refresh: "s3cret"}), fmt.Sprintf("%#v", &Grant{Access: "s3cret"})} {
		if strings.Contains(text, "s3cret") {
			t.Errorf("a grant shows itself: %s", text)
		}
	}
}
