package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/discovery"
	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// metadataLife is for how long what was discovered is good.
const metadataLife = time.Hour

// TokenEndpoint is a token endpoint whose address is configured or discovered. It is safe
// for concurrent use.
type TokenEndpoint struct {
	*Endpoint
	issuer  string
	address atomic.Pointer[string]

	turn  chan struct{} // held by who discovers
	mu    sync.Mutex
	found *Metadata
	until time.Time
}

// OpenTokens makes a token endpoint of its address, or, if that is empty, of the issuer
// whose metadata tell it. Nothing is sent. It needs its Close.
func (s *Settings) OpenTokens(ctx context.Context, address, issuer string, o Options) (*TokenEndpoint, error) {
	at := address
	if address == "" {
		at = issuer
		if _, err := discovery.URLs(issuer); err != nil {
			return nil, err
		}
	}
	e, err := s.Open(ctx, at, o)
	if err != nil {
		return nil, err
	}
	t := &TokenEndpoint{Endpoint: e, issuer: issuer, turn: make(chan struct{}, 1)}
	t.Move(address)
	return t, nil
}

// Move changes the address, which the operator has written too.
func (t *TokenEndpoint) Move(address string) { t.address.Store(&address) }

// Ask gets a token. build makes the form of the address that it is sent to. Errors name
// the host and the reason.
func (t *TokenEndpoint) Ask(ctx context.Context, build func(endpoint string) (url.Values, error)) (*AccessToken, error) {
	to, own, err := t.where(ctx)
	if err != nil {
		return nil, err
	}
	form, err := build(to)
	if err != nil {
		return nil, err
	}
	token, err := t.askAt(ctx, to, own, form)
	if f := (*Failure)(nil); err != nil && (!errors.As(err, &f) || f.Code == "") {
		t.forget() // it may have moved
	}
	return token, err
}

func (t *TokenEndpoint) askAt(ctx context.Context, to string, own bool, form url.Values) (*AccessToken, error) {
	l, err := t.acquireFor(own)
	if err != nil {
		return nil, err
	}
	defer t.release(l)
	res, err := t.client().Post(ctx, l.client, to, form, maxTokenAnswer)
	if err != nil {
		return nil, fmt.Errorf("token endpoint: %w", err)
	}
	token, err := ReadToken(res)
	if err != nil {
		return nil, fmt.Errorf("token endpoint: %s: %w", hostOf(to), err)
	}
	return token, nil
}

// acquireFor is acquire for the operator's own address; for another the client reaches no
// private addresses, and is made for one exchange: there are few.
func (t *TokenEndpoint) acquireFor(own bool) (*line, error) {
	if own {
		return t.acquire()
	}
	stranger := &Endpoint{values: t.values, options: t.options}
	stranger.options.Policy.Trusted = false
	client, err := stranger.connect()
	return &line{client: client, users: 1, retired: true}, err
}

func hostOf(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Host
	}
	return ""
}

// where is the endpoint's address, and whether the operator's trust is for it.
func (t *TokenEndpoint) where(ctx context.Context) (address string, own bool, err error) {
	if address = *t.address.Load(); address != "" {
		return address, true, nil
	}
	m, err := t.Metadata(ctx)
	if err != nil {
		return "", false, err
	}
	address = m.Token
	if t.base.Auth == MTLS && m.MTLSToken != "" {
		address = m.MTLSToken
	}
	if address == "" {
		return "", false, fmt.Errorf("issuer %s: the metadata have no token_endpoint", hostOf(t.issuer))
	}
	u, err := fetch.CheckURL(address)
	if err != nil {
		return "", false, fmt.Errorf("issuer %s: token_endpoint: %w", hostOf(t.issuer), err)
	}
	issuer, err := fetch.CheckURL(t.issuer)
	return address, err == nil && fetch.SameOrigin(u, issuer), err
}

// forget has the metadata fetched again. What is known stays for as long as they cannot.
func (t *TokenEndpoint) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.until = time.Time{}
}

func (t *TokenEndpoint) now() time.Time {
	if t.options.Now != nil {
		return t.options.Now()
	}
	return time.Now()
}

func (t *TokenEndpoint) known() (m *Metadata, fresh bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.found, t.now().Before(t.until)
}

// Metadata are the issuer's, fetched if they are not known or too old.
func (t *TokenEndpoint) Metadata(ctx context.Context) (*Metadata, error) {
	if m, fresh := t.known(); fresh {
		return m, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	old, fresh := t.known()
	if fresh {
		return old, nil
	}
	l, err := t.acquire()
	if err != nil {
		return nil, err
	}
	defer t.release(l)
	m, err := discover(ctx, l.client, t.issuer)
	if err != nil {
		if old != nil && ctx.Err() == nil {
			return old, nil
		}
		return nil, fmt.Errorf("discovery: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.found, t.until = m, t.now().Add(metadataLife)
	return m, nil
}

// Secrets are the values that the endpoint is asked with, by their options.
func (t *TokenEndpoint) Secrets() map[string]*secret.Value {
	v := t.values
	return map[string]*secret.Value{
		"client_id": v.id, "client_secret": v.secret, "private_key": v.privateKey,
		"certificate": v.certificate, "key": v.key, "ca": v.ca,
	}
}
