package verify

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Blocklist knows tokens that are not accepted any more though their time is not over.
// It is asked on every request and must be quick.
type Blocklist interface {
	// Revoked reports whether the token with these claims is on the list; issued is the
	// zero time if the token does not say when it was issued.
	Revoked(issuer, subject, tokenID string, issued time.Time) bool
}

// Revocations are tokens that are not accepted although they verify.
type Revocations struct {
	// Tokens by their id (jti).
	TokenIDs []string `json:"jti,omitempty"`
	// Tokens by their subject (sub) that were issued before a time.
	Subjects []RevokedSubject `json:"sub,omitempty"`
	// All tokens of issuers (iss), for credentials that take several.
	Issuers []string `json:"iss,omitempty"`
}

// RevokedSubject are the tokens of one subject.
type RevokedSubject struct {
	// The subject.
	Subject string `json:"subject"`
	// Tokens issued before this time (RFC 3339) are not accepted, nor are those that do
	// not say when they were issued. Default: none of the subject is.
	Before time.Time `json:"before,omitzero"`
}

// revoked is Revocations prepared for look-up.
type revoked struct {
	ids, issuers map[string]bool
	subjects     map[string]time.Time // the zero time: always
}

func (r *Revocations) compile() (Blocklist, error) {
	c := &revoked{ids: map[string]bool{}, issuers: map[string]bool{}, subjects: map[string]time.Time{}}
	for _, id := range r.TokenIDs {
		c.ids[id] = true
	}
	for _, iss := range r.Issuers {
		c.issuers[iss] = true
	}
	for _, s := range r.Subjects {
		if s.Subject == "" {
			return nil, fmt.Errorf("revoked: a subject is empty")
		}
		if old, twice := c.subjects[s.Subject]; twice && (old.IsZero() || !s.Before.IsZero() && s.Before.Before(old)) {
			continue // what revokes more is there already
		}
		c.subjects[s.Subject] = s.Before
	}
	if len(c.ids)+len(c.issuers)+len(c.subjects) == 0 {
		return nil, nil
	}
	return c, nil
}

// Revoked implements Blocklist.
func (c *revoked) Revoked(issuer, subject, tokenID string, issued time.Time) bool {
	if c.ids[tokenID] || c.issuers[issuer] {
		return true
	}
	before, ok := c.subjects[subject]
	return ok && (before.IsZero() || issued.IsZero() || issued.Before(before))
}

// either is a blocklist of two, each of which may be nil.
func either(a, b Blocklist) Blocklist {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return both{a, b}
}

type both [2]Blocklist

// Revoked implements Blocklist.
func (b both) Revoked(issuer, subject, tokenID string, issued time.Time) bool {
	return b[0].Revoked(issuer, subject, tokenID, issued) || b[1].Revoked(issuer, subject, tokenID, issued)
}

// unmarshalLine reads one line, standing at revoked:
//
//	revoked jti <id>...
//	revoked sub <subject> [before <RFC 3339 time>]
//	revoked iss <issuer>...
func (r *Revocations) unmarshalLine(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 {
		return d.Err("revoked needs what and which: revoked jti <id>..., revoked sub <subject> [before <time>], or revoked iss <issuer>...")
	}
	switch args[0] {
	case "jti":
		r.TokenIDs = append(r.TokenIDs, args[1:]...)
	case "iss":
		r.Issuers = append(r.Issuers, args[1:]...)
	case "sub":
		s := RevokedSubject{Subject: args[1]}
		switch {
		case len(args) == 4 && args[2] == "before":
			t, err := time.Parse(time.RFC3339, args[3])
			if err != nil {
				return d.Errf("before needs a time as in 2027-01-31T12:00:00Z (RFC 3339), not %q", args[3])
			}
			s.Before = t.UTC()
		case len(args) != 2:
			return d.Err("revoked sub takes one subject, and a time: revoked sub <subject> [before <RFC 3339 time>]")
		}
		r.Subjects = append(r.Subjects, s)
	default:
		return d.Errf("revoked is for jti, sub and iss, not for %q", args[0])
	}
	return nil
}
