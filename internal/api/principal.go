package api

import (
	"context"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/audit"
)

// Role is what a principal may do. Each may all that the ones before it may.
type Role int

// The roles. The zero value may nothing.
const (
	NoRole Role = iota
	Reader      // reads
	Editor      // changes credentials, targets, proxies, rules and blocklists
	Owner       // changes clients, reads the audit log, has the store
)

// String is the role's name, as in the configuration.
func (r Role) String() string {
	switch r {
	case Reader:
		return "reader"
	case Editor:
		return "editor"
	case Owner:
		return "owner"
	}
	return "none"
}

// Principal is who calls the API. The mount has made sure of it.
type Principal struct {
	Actor audit.Actor
	Role  Role
	// Clients are the ids of the clients that it has to do with; others do not exist for
	// it. All says that it has to do with every client, and with what belongs to none.
	Clients []string
	All     bool
}

// sees reports whether a client exists for the principal.
func (p *Principal) sees(client string) bool {
	return p.All || slices.Contains(p.Clients, client)
}

type principalKey struct{}

// WithPrincipal returns a context for a request of a principal. Without one a request is
// refused.
func WithPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, &p)
}

// principalOf returns the principal of a request, one without a role if there is none.
func principalOf(ctx context.Context) *Principal {
	if p, ok := ctx.Value(principalKey{}).(*Principal); ok {
		return p
	}
	return &Principal{}
}
