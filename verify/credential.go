package verify

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// Credential is a named proxy credential.
type Credential struct {
	Name string
	// Raw is its verifier.
	Raw json.RawMessage
	// Scope are the credential's own rules.
	rule.Scope
	// Expires is when it stops being accepted.
	Expires time.Time
	// Previous are earlier verifiers that are accepted until their own time.
	Previous []Previous
	// Used, if not nil, is told of each request that the credential recognised the caller
	// of. It must be quick.
	Used func(now time.Time)

	verifier Verifier
	set      *rule.Set
}

// Previous is a verifier that a rotation has replaced.
type Previous struct {
	// Raw is the verifier.
	Raw json.RawMessage
	// Until is when it stops being accepted.
	Until time.Time

	verifier Verifier
}

// Credentials knows named proxy credentials.
type Credentials interface {
	// ProxyCredential returns a named proxy credential.
	ProxyCredential(name string) (*Credential, error)
}

// Provision loads the credential's verifier and compiles its rules.
func (c *Credential) Provision(l *host.Loader) error {
	place := "credential " + c.Name
	v, _, err := loadVerifier(l, place+": accept", c.Raw)
	if err != nil {
		return err
	}
	if c.set, err = c.Compile(l.RuleEnv()); err != nil {
		return fmt.Errorf("%s: %w", place, err)
	}
	c.verifier = v
	for i := range c.Previous {
		p := &c.Previous[i]
		if p.verifier, _, err = loadVerifier(l, place+": previous", p.Raw); err != nil {
			return err
		}
	}
	return nil
}

func loadVerifier(l *host.Loader, place string, raw json.RawMessage) (Verifier, string, error) {
	guest, kind, err := l.Guest(place, Namespace, raw)
	if err != nil {
		return nil, kind, err
	}
	v, ok := guest.(Verifier)
	if !ok {
		return nil, kind, fmt.Errorf("%s: module %s.%s is a %T, which does not implement verify.Verifier", place, Namespace, kind, guest)
	}
	return v, kind, nil
}

// Forget lets go of what the credential was made of, once it is provisioned. It is for kinds
// that compare keys, whose callers are known by their key's digest.
func (c *Credential) Forget() { c.Raw = nil }

// Digests are the SHA-256 of the keys that the credential accepts, if it is of a kind that
// compares keys.
func (c *Credential) Digests() (list [][sha256.Size]byte) {
	if o, ok := c.verifier.(opaqueVerifier); ok {
		list = o.opaqueParts().digests()
	}
	return list
}

// entries are the credential's verifier and those that a rotation has replaced, which a
// caller is recognised by as the same.
func (c *Credential) entries() []*accepted {
	entry := func(v Verifier, raw []byte, expires time.Time) *accepted {
		return &accepted{
			label: c.Name, named: true, verifier: v, set: c.set, expires: expires, used: c.Used,
			print: sha256.Sum256(append([]byte(c.Name+"\x00"), raw...)),
		}
	}
	list := []*accepted{entry(c.verifier, c.Raw, c.Expires)}
	for _, p := range c.Previous {
		until := p.Until
		if !c.Expires.IsZero() && c.Expires.Before(until) {
			until = c.Expires
		}
		list = append(list, entry(p.verifier, p.Raw, until))
	}
	return list
}
