// Package wire is the JSON of the management API: what bodies say, as records of the
// store, and records as the API shows them. Names and shapes are those of the hosted
// product's API, in all the forms that it has published, with rr's additions beside them;
// docs/api-records.md has them all.
//
// Bodies are read strictly: what is not known, is there twice, has another type or could
// be read in two ways is a Fault, and all faults of a body are reported at once. A secret
// goes in and never comes out again: no answer, fault or printed value has one, but for a
// key that was made here, which its maker is shown once.
//
// Bodies of changes are merged: what they have replaces what is stored, what they do not
// have stays, and null takes it away. So a record as it was shown can be sent back.
//
// The package imports neither Caddy nor the catalogue. What only the kinds themselves can
// tell, such as whether a key can be used, is found out when the catalogue takes a record.
package wire

import (
	"fmt"
	"strings"
	"time"
)

// Fault is what is wrong with one place of a body.
type Fault struct {
	// Pointer is the place (RFC 6901); empty is the whole body.
	Pointer string `json:"pointer" doc:"Place in the body, a JSON pointer (RFC 6901)" example:"/credentialSecret/key"`
	// Detail says what is wrong and what to do. It has no value of the body that could be
	// secret.
	Detail string `json:"detail" doc:"What is wrong there, and what to do" example:"it is missing"`
}

// Faults are all that is wrong with a body, at most MaxFaults. They are an error.
type Faults []Fault

// Error implements error.
func (f Faults) Error() string {
	texts := make([]string, len(f))
	for i, x := range f {
		texts[i] = strings.TrimPrefix(x.Pointer+": "+x.Detail, ": ")
	}
	return strings.Join(texts, "; ")
}

// Bounds of what bodies may say. Lengths are in characters.
const (
	MaxFaults     = 50
	MaxName       = 128      // of names, aliases and ids of clients
	MaxRegion     = 64       // of regions
	MaxText       = 2048     // of other texts
	MaxSecret     = 64 << 10 // of one secret
	MaxNote       = 1000     // of notes
	MaxListed     = 100      // elements of a list
	MaxKeys       = 16       // keys of one credential
	MaxPrevious   = 8        // secrets that are accepted beside the newest
	MaxOverlap    = 90 * 24 * time.Hour
	MaxPriority   = 1000    // of a rule
	MaxRules      = 1000    // of one scope
	MaxRulesSize  = 4 << 20 // of one scope, in bytes of JSON
	MaxPattern    = 2048    // of a pattern
	MaxPatternOps = 10_000  // of a pattern, with its repetitions written out
	MaxScopeOps   = 200_000 // of all patterns of one scope together
	MaxChecks     = 32      // in each part of a rule
	MaxPaths      = 64      // of a rule
	MaxDuration   = 10 * 365 * 24 * time.Hour
)

// Generated is what a decoder has to say beside the record.
type Generated struct {
	// Key is a key that was made; nobody can see it again. Empty: none was made.
	Key string
	// Warnings are about what was taken, but should be better.
	Warnings []string
}

// Format keeps the key out of whatever prints it.
func (g Generated) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "key REDACTED, %q", g.Warnings) }

func (g *Generated) key() string {
	if g == nil {
		return ""
	}
	return g.Key
}

func (g *Generated) warnings() []string {
	if g == nil {
		return nil
	}
	return g.Warnings
}
