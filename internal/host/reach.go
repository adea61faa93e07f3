package host

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// Reaching is implemented by guests that go somewhere themselves, for keys, tokens or
// answers.
type Reaching interface {
	// Reaches are the URLs, by the options that say them.
	Reaches() map[string]string
}

// AddressError says that a guest of a record may not go where an option says.
type AddressError struct {
	Option string
	Err    error
}

func (e *AddressError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap returns the reason.
func (e *AddressError) Unwrap() error { return e.Err }

// CheckReach tells whether a guest of a record may go where it wants to: addresses are
// public, or within the ranges that the operator has opened. Names are looked up, for 3 s
// at most each; one that cannot be looked up now passes, and is judged when it is dialled. The
// error is an AddressError.
func CheckReach(ctx context.Context, guest any, allow []netip.Prefix) error {
	r, ok := guest.(Reaching)
	if !ok {
		return nil
	}
	where := r.Reaches()
	for _, option := range slices.Sorted(maps.Keys(where)) {
		if err := (fetch.Policy{Allow: allow}).CheckAddress(ctx, where[option]); err != nil {
			return &AddressError{option, err}
		}
	}
	return nil
}
