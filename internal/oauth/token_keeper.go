package oauth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Grant is what is kept of a consent. It is secret.
type Grant struct {
	Refresh string `json:"refresh_token,omitempty"`
	// Access is the access token of endpoints that give no refresh token.
	Access  string    `json:"access_token,omitempty"`
	Type    string    `json:"token_type,omitempty"`
	Expires time.Time `json:"expires,omitzero"` // of Access; zero if it is not known
}

// Format keeps the grant out of whatever prints it.
func (*Grant) Format(f fmt.State, _ rune) { fmt.Fprint(f, "grant") }

// grant is what is to keep of a token that a consent has given.
func (t *AccessToken) grant(now time.Time) *Grant {
	if t.Refresh != "" {
		return &Grant{Refresh: t.Refresh}
	}
	g := &Grant{Access: t.Value, Type: t.Type}
	if t.Life > 0 {
		g.Expires = now.Add(t.Life)
	}
	return g
}

// Keeper keeps a grant.
type Keeper interface {
	// Load returns the grant, nil if there is none. It fails when a Save could not work: a
	// refresh token whose successor cannot be kept must not be used.
	Load(ctx context.Context) (*Grant, error)
	// Save puts g in the place of the grant with the refresh token before. If there is
	// another by now, that one stays. What it promises has to hold when it returns.
	Save(ctx context.Context, before string, g *Grant) error
}

// Memory is a Keeper that forgets with the process. g may be nil.
func Memory(g *Grant) Keeper { return &memory{grant: g} }

type memory struct {
	mu    sync.Mutex
	grant *Grant
}

func (m *memory) Load(context.Context) (*Grant, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.grant, nil
}

func (m *memory) Save(_ context.Context, before string, g *Grant) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.grant == nil || m.grant.Refresh == before {
		m.grant = g
	}
	return nil
}
