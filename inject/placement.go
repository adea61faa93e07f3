package inject

import (
	"errors"
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Placement is where a token goes, and behind what.
type Placement struct {
	Slot
	// What stands before the token in a header, such as Token. A word is followed by a
	// space.
	Prefix string `json:"prefix,omitempty"`
}

// resolve returns the place and what makes a token its value. Without a placement that is
// Authorization, after Bearer.
func (p *Placement) resolve() (Slot, func(string) string, error) {
	if p == nil {
		return Slot{InHeader, "Authorization"}, prefixed("Bearer"), nil
	}
	slot := p.Slot
	switch {
	case slot.In != InHeader && slot.In != InQuery && slot.In != InCookie:
		return slot, nil, fmt.Errorf("a token goes into a header, query parameter or cookie, not into %q", slot.In)
	case slot.In != InHeader && p.Prefix != "":
		return slot, nil, errors.New("only in a header something stands before the token")
	}
	if err := slot.Validate(); err != nil {
		return slot, nil, err
	}
	if err := checkValue(slot, p.Prefix); err != nil {
		return slot, nil, errors.New("the prefix has characters that a header cannot carry")
	}
	return slot, prefixed(p.Prefix), nil
}

// parsePlacement reads `to header|query|cookie <name> [<prefix>]`, standing at its name.
func parsePlacement(d *caddyfile.Dispenser, p **Placement) error {
	if *p != nil {
		return d.Errf("%s is said twice", d.Val())
	}
	args := d.RemainingArgs()
	if len(args) < 2 || len(args) > 3 {
		return d.Err("to needs a place and a name: to header <name> [<prefix>], to query <name>, to cookie <name>")
	}
	made := &Placement{Slot: Slot{In: args[0], Name: args[1]}}
	if len(args) == 3 {
		made.Prefix = args[2]
	}
	slot, _, err := made.resolve()
	if err != nil {
		return d.WrapErr(err)
	}
	made.Slot = slot
	*p = made
	return nil
}
