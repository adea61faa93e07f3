package verify

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/exchange"
)

// group is a list of verifiers of which one has to recognise the caller, and the places
// that they read.
type group struct {
	entries []*accepted
	slots   slots
	index   atomic.Pointer[index]
	others  []*accepted // the entries that are not in the index, in order
	basics  []*Basic
}

// index finds opaque credentials by digest. The look-up is no timing oracle: what is
// compared is the SHA-256 of the caller's text, which nobody can steer towards a known
// one byte by byte.
type index map[digest]indexed

// indexed is an accepted opaque credential and where it may ride. It holds what a look-up
// needs: with very many credentials each pointer costs more than the comparison.
type indexed struct {
	entry   *accepted
	expires time.Time // the verifier's own end
	places  []place   // shared by all that ride in the same places
}

func (x *indexed) expired(now time.Time) bool {
	return x.entry.expired(now) || !x.expires.IsZero() && !now.Before(x.expires)
}

type place struct {
	slot   int
	prefix string
}

// holds reports whether some verifier would still recognise the caller.
func (gr *group) holds(e exchange.Evidence, now time.Time) bool {
	if x, ok := (*gr.index.Load())[e.Print]; ok {
		return !x.expired(now)
	}
	return slices.ContainsFunc(gr.others, func(a *accepted) bool {
		if s, ok := a.verifier.(Standing); ok {
			id, known := identityOf(e)
			return known && !a.expired(now) && s.Stands(id)
		}
		return a.fingerprint() == e.Print && !a.expired(now)
	})
}

// finish collects the slots and builds the index.
func (gr *group) finish(where string) error {
	gr.others = nil
	for _, a := range gr.entries {
		switch v := a.verifier.(type) {
		case opaqueVerifier:
			gr.slots.add(v.opaqueParts().carriers)
			continue
		case Carrying:
			// a guest's carriers are checked like anybody's: what is not in canonical
			// form would be read, but not removed
			carriers := slices.Clone(v.Carriers())
			for i := range carriers {
				if err := carriers[i].Validate(); err != nil {
					return fmt.Errorf("%s: %s: %w", where, a.label, err)
				}
			}
			gr.slots.add(carriers)
		default:
			gr.slots.add([]Carrier{{In: InHeader, Name: "Authorization"}})
		}
		if b, ok := a.verifier.(*Basic); ok {
			gr.basics = append(gr.basics, b)
		}
		if v, ok := a.verifier.(Accompanied); ok {
			for _, name := range v.Headers() {
				gr.slots.companions = append(gr.slots.companions, http.CanonicalHeaderKey(name))
			}
		}
		gr.others = append(gr.others, a)
	}
	gr.slots.finish()
	return gr.reindex(where)
}

// reindex builds the index anew from what the secrets are now.
func (gr *group) reindex(where string) error {
	ix := make(index, len(gr.entries))
	var places []place // of the one before
	for _, a := range gr.entries {
		v, ok := a.verifier.(opaqueVerifier)
		if !ok {
			continue
		}
		o := v.opaqueParts()
		next := make([]place, len(o.carriers))
		for i, id := range gr.slots.add(o.carriers) {
			next[i] = place{id, o.carriers[i].Prefix}
		}
		if !slices.Equal(places, next) {
			places = next
		}
		for _, d := range o.digests() {
			if old, twice := ix[d]; twice && old.entry != a {
				return fmt.Errorf("%s: %s and %s accept the same secret; who is calling could not be told", where, old.entry.label, a.label)
			}
			ix[d] = indexed{a, o.expires, places}
		}
	}
	gr.index.Store(&ix)
	return nil
}

// caller is a recognised caller.
type caller struct {
	entry    *accepted
	identity Identity
	print    digest
}

// evidence is what later tells whether the caller would still be recognised.
func (c caller) evidence() exchange.Evidence {
	e := exchange.Evidence{Print: c.print}
	if c.identity.token != nil { // which saves an allocation on every request
		e.Caller = c.identity.token
	} else if _, ok := c.entry.verifier.(Standing); ok {
		id := c.identity
		e.Caller = &id
	}
	return e
}

func identityOf(e exchange.Evidence) (Identity, bool) {
	switch c := e.Caller.(type) {
	case *verified:
		return c.identity(), true
	case *Identity:
		return *c, true
	}
	return Identity{}, false
}

// expires is when the proof ends: the identity's own end or the credential's.
func (c caller) expires() time.Time {
	if e := c.entry.expires; !e.IsZero() && (c.identity.Expires.IsZero() || e.Before(c.identity.Expires)) {
		return e
	}
	return c.identity.Expires
}

// recognise finds out who is calling. The error is ErrAbsent, ErrRejected, ErrCostly (the
// address is throttled and nothing cheap recognised the caller) or technical.
func (gr *group) recognise(r *http.Request, adm admission, now time.Time) (caller, error) {
	var buf [4]found
	present, err := gr.slots.read(r, buf[:0])
	if err != nil {
		return caller{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	var reason error = ErrAbsent
	if len(present) > 0 {
		c, err := gr.lookUp(present, now)
		if err == nil {
			return c, nil
		}
		reason = err
	}
	if len(gr.others) > 0 {
		return gr.askOthers(r, len(present) > 0, reason, adm, now)
	}
	return caller{}, reason
}

// lookUp finds an opaque credential in the index.
func (gr *group) lookUp(present []found, now time.Time) (caller, error) {
	ix := *gr.index.Load()
	if len(ix) == 0 {
		return caller{}, ErrRejected
	}
	for _, f := range present {
		for _, prefix := range gr.slots.list[f.slot].prefixes {
			text, ok := cutPrefix(f.raw, prefix)
			if !ok || text == "" {
				continue
			}
			d := digestOf(text)
			x, known := ix[d]
			if !known || !slices.Contains(x.places, place{f.slot, prefix}) {
				continue
			}
			if x.expired(now) {
				return caller{}, fmt.Errorf("%w: %s: %w", ErrRejected, x.entry.label, errExpired)
			}
			return caller{x.entry, Identity{Expires: x.expires}, d}, nil
		}
	}
	return caller{}, ErrRejected
}

// askOthers asks the verifiers that are not in the index, in order.
func (gr *group) askOthers(r *http.Request, present bool, reason error, adm admission, now time.Time) (caller, error) {
	c, t, err := gr.try(r, present, reason, adm, now)
	unknown := errors.Is(err, ErrAbsent) || errors.Is(err, ErrRejected)
	if t.end(unknown) {
		err = fmt.Errorf("%w%w", err, errCounted)
	}
	return c, err
}

// try makes a trial when a verifier needs one, which costs an allocation.
func (gr *group) try(r *http.Request, present bool, reason error, adm admission, now time.Time) (_ caller, t *trial, _ error) {
	hashed, costly := false, false
	var last lastToken
	for _, a := range gr.others {
		if _, anonymous := a.verifier.(*None); anonymous && present {
			continue
		}
		if t == nil && begins(a.verifier) {
			t = &trial{admission: adm}
		}
		id, err := ask(a.verifier, r, &last, adm, t)
		switch {
		case err == nil && a.expired(now):
			reason = fmt.Errorf("%w: %s: %w", ErrRejected, a.label, errExpired)
		case err == nil:
			return caller{a, id, a.fingerprint()}, t, nil
		case errors.Is(err, ErrAbsent):
		case errors.Is(err, ErrCostly): // another may remember the caller
			costly = true
		case errors.As(err, new(*InsufficientScope)):
			reason = fmt.Errorf("%s: %w", a.label, err)
		case errors.Is(err, ErrRejected):
			if !errors.As(reason, new(Challenged)) { // which tells the caller more
				reason = fmt.Errorf("%s: %w", a.label, err)
			}
			if b, ok := a.verifier.(*Basic); ok && comparerOf(b.password.Get()) != nil {
				hashed = hashed || !errors.Is(err, errOtherUser)
			}
		default:
			return caller{}, t, err
		}
	}
	if !hashed && !costly && errors.Is(reason, errOtherUser) {
		if err := gr.decoy(r, t); err != nil {
			return caller{}, t, err
		}
	}
	if costly && !errors.As(reason, new(*InsufficientScope)) {
		return caller{}, t, ErrCostly
	}
	return caller{}, t, reason
}

// decoy spends the time of one password hash for a user that nobody knows.
func (gr *group) decoy(r *http.Request, t *trial) error {
	_, password, err := readBasic(r)
	if err != nil {
		return nil
	}
	for _, b := range gr.basics {
		if c := comparerOf(b.password.Get()); c != nil {
			release, ok := t.begin()
			if !ok {
				return ErrCostly
			}
			_, err := hashSlots.compare(r.Context(), c, b.password.Get(), password+"\x00")
			release(err == nil)
			return err
		}
	}
	return nil
}

// begins reports whether asking the verifier needs a trial.
func begins(v Verifier) bool {
	switch v.(type) {
	case *JWTVerify, *Introspect:
		return false
	}
	_, costly := v.(Costly)
	return costly
}

func ask(v Verifier, r *http.Request, last *lastToken, adm admission, t *trial) (Identity, error) {
	switch v := v.(type) {
	case *JWTVerify: // which takes a token apart once for all its kind
		return v.verify(r, last, adm)
	case *Introspect: // which shares one check among equal requests
		return v.verify(r, adm)
	case *Basic: // so does this
		return v.verify(r, t.begin)
	}
	c, ok := v.(Costly)
	if !ok {
		return v.Verify(r)
	}
	id, err := c.VerifyCached(r)
	if !errors.Is(err, ErrCostly) {
		return id, err
	}
	release, ok := t.begin()
	if !ok {
		return id, err
	}
	id, err = v.Verify(r)
	release(errors.Is(err, ErrRejected))
	return id, err
}
