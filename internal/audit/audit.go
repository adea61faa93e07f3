// Package audit is the log of what was changed, by whom, when: entries that each have the
// hash of the one before, so that an entry that was edited, left out, moved or put in is
// noticed by whoever reads the log from its beginning.
//
// An entry has the names of fields, and never their values. The package keeps nothing.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"time"
)

// The kinds of actors.
const (
	Admin      = "admin"      // somebody at Caddy's admin endpoint
	User       = "user"       // somebody whom an issuer or a Caddy authenticator knows
	Credential = "credential" // a program with a credential that the configuration declares
	System     = "system"     // the gateway itself
)

// Actor is who changed something.
type Actor struct {
	// Kind is Admin, User, Credential or System.
	Kind string `json:"kind"`
	// Name is the user's id, or the credential's name; of an Admin the address or socket.
	Name string `json:"name,omitempty"`
	// Address is where the request came from.
	Address string `json:"address,omitempty"`
}

// Entry is one change.
type Entry struct {
	// Seq counts the entries of a store, from 1.
	Seq   uint64    `json:"seq"`
	Time  time.Time `json:"time"`
	Actor Actor     `json:"actor"`
	// Action is what was done: create, update, delete, rotate, authorize, consent, import,
	// expire, export, backup, rotate-key.
	Action string `json:"action"`
	// Resource is what it was done to: credentials, targets, proxies, rules, clients,
	// blocklist or store.
	Resource string `json:"resource"`
	ID       string `json:"id,omitempty"`
	// Client is the ID of the client that owns the resource.
	Client string `json:"client,omitempty"`
	// Name is the resource's when it was changed.
	Name string `json:"name,omitempty"`
	// Fields are the names of what was changed, as the API has them.
	Fields []string `json:"fields,omitempty"`
	// Previous is the Hash of the entry before; empty in the first one.
	Previous string `json:"previous,omitempty"`
	// Hash is SHA-256, in hex, of the entry as it is exported, but without its hash.
	Hash string `json:"hash"`
}

// Head is the last entry of a log. It has to be kept apart from the entries: they alone
// cannot tell that the last ones are missing. The zero Head is that of an empty log.
type Head struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// Append makes e the entry after the head, and returns the head that there is then.
func (h Head) Append(e *Entry) Head {
	e.Seq = h.Seq + 1
	e.Seal(h.Hash)
	return Head{e.Seq, e.Hash}
}

// Seal puts the hash of the entry before, and the entry's own, into it.
func (e *Entry) Seal(previous string) {
	e.Previous = previous
	e.Hash = e.hash()
}

func (e *Entry) hash() string {
	sum := sha256.Sum256(e.canonical(false))
	return hex.EncodeToString(sum[:])
}

// Key is what a store keeps an entry by: 16 hex digits, so that the order of keys is that
// of entries.
func Key(seq uint64) string { return fmt.Sprintf("%016x", seq) }

// ErrBroken says that a log is not what was written.
var ErrBroken = errors.New("the audit log is not as it was written")

// Verify reads a whole log, from its first entry, and returns how many entries are as they
// were written. ErrBroken says at which one something is missing, was edited, moved or put
// in. It cannot see that entries are missing at the end: VerifyTo can.
func Verify(entries iter.Seq2[Entry, error]) (count uint64, err error) {
	return verify(entries, Head{})
}

// VerifyTo is Verify of a log that has the entry head. Later ones may follow. A head that
// somebody has noted at some time, elsewhere, proves all that was written until then.
func VerifyTo(entries iter.Seq2[Entry, error], head Head) (count uint64, err error) {
	return verify(entries, head)
}

func verify(entries iter.Seq2[Entry, error], head Head) (count uint64, err error) {
	previous := ""
	for e, err := range entries {
		if err != nil {
			return count, err
		}
		switch seq := count + 1; {
		case e.Seq != seq:
			return count, broken(seq, fmt.Sprintf("entry %d is in its place", e.Seq))
		case e.Previous != previous:
			return count, broken(seq, "it follows another entry than the one before it")
		case e.Hash != e.hash():
			return count, broken(seq, "it was edited")
		case seq == head.Seq && e.Hash != head.Hash:
			return count, broken(seq, "it is another one than the head that was noted: the log was written anew")
		}
		count++
		previous = e.Hash
	}
	if count < head.Seq {
		return count, broken(count+1, fmt.Sprintf("it is missing, and all to entry %d", head.Seq))
	}
	return count, nil
}

func broken(seq uint64, how string) error {
	return fmt.Errorf("%w: entry %d: %s", ErrBroken, seq, how)
}
