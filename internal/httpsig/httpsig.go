// Package httpsig signs HTTP requests (HTTP Message Signatures, RFC 9421) and digests their
// content (RFC 9530). It only signs; whoever verifies is the upstream.
//
// It imports nothing of Caddy.
package httpsig

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parameters are what a signature says of itself (RFC 9421 section 2.3). What is empty or
// zero is left out. Texts are printable ASCII, see CheckText.
type Parameters struct {
	Created, Expires       time.Time
	KeyID, Alg, Nonce, Tag string
}

// Sign returns a signature's members of the fields Signature-Input and Signature (section
// 4), under a label. r is the request as it leaves, digest included. Components that are
// Optional and absent are left out; one that is missing is an error.
func Sign(r *http.Request, label string, covered []Component, p Parameters, k *Key) (input, signature string, err error) {
	covered = slices.DeleteFunc(slices.Clone(covered), func(c Component) bool { return c.Optional && !c.present(r) })
	base, params, err := Base(r, covered, p)
	if err != nil {
		return "", "", err
	}
	raw, err := k.sign([]byte(base))
	if err != nil {
		return "", "", fmt.Errorf("signing with %s failed", k.alg) // without what the library says of the key
	}
	return label + "=" + params, label + "=" + binary(raw), nil
}

// Base returns what is signed (section 2.5), and its last line's value, which is also
// what Signature-Input says.
func Base(r *http.Request, covered []Component, p Parameters) (base, params string, err error) {
	var b strings.Builder
	identifiers := make([]string, len(covered))
	for i, c := range covered {
		id := c.Identifier()
		if slices.Contains(identifiers[:i], id) {
			return "", "", fmt.Errorf("%s is covered twice", id)
		}
		value, err := c.value(r)
		if err != nil {
			return "", "", fmt.Errorf("%s cannot be covered: %w", id, err)
		}
		identifiers[i] = id
		b.WriteString(id + ": " + value + "\n")
	}
	params = "(" + strings.Join(identifiers, " ") + ")" + p.String()
	b.WriteString(`"@signature-params": ` + params)
	return b.String(), params, nil
}

// String is the parameters in their serialised form, in the order of section 2.3, but with
// keyid next to the times as in the RFC's examples.
func (p Parameters) String() string {
	var b strings.Builder
	seconds := func(name string, t time.Time) {
		if !t.IsZero() {
			b.WriteString(";" + name + "=" + strconv.FormatInt(t.Unix(), 10))
		}
	}
	text := func(name, s string) {
		if s != "" {
			b.WriteString(";" + name + "=" + quoted(s))
		}
	}
	seconds("created", p.Created)
	seconds("expires", p.Expires)
	text("keyid", p.KeyID)
	text("alg", p.Alg)
	text("nonce", p.Nonce)
	text("tag", p.Tag)
	return b.String()
}

// CheckText tells whether a text can be a parameter: a String of RFC 8941 section 3.3.3.
func CheckText(s string) error {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errors.New("only printable ASCII can stand there")
		}
	}
	return nil
}

// CheckLabel tells whether a text can be a signature's label: a key of RFC 8941 section
// 3.1.2.
func CheckLabel(s string) error {
	for i := range len(s) {
		c := s[i]
		first := 'a' <= c && c <= 'z' || c == '*'
		if !first && (i == 0 || !('0' <= c && c <= '9' || strings.IndexByte("_-.", c) >= 0)) {
			return errors.New("a label is lower-case letters, digits and any of _-.* and begins with a letter or *")
		}
	}
	if s == "" {
		return errors.New("a label is needed")
	}
	return nil
}

// Algorithms of Content-Digest (RFC 9530 section 5; those that are not deprecated).
const (
	SHA256 = "sha-256"
	SHA512 = "sha-512"
)

// Digest is the value of Content-Digest for a content as it is sent.
func Digest(algorithm string, content []byte) (string, error) {
	switch algorithm {
	case SHA256:
		sum := sha256.Sum256(content)
		return algorithm + "=" + binary(sum[:]), nil
	case SHA512:
		sum := sha512.Sum512(content)
		return algorithm + "=" + binary(sum[:]), nil
	}
	return "", fmt.Errorf("a content digest is %s or %s, not %q", SHA256, SHA512, algorithm)
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// quoted is a String of RFC 8941 section 4.1.6.
func quoted(s string) string { return `"` + escapes.Replace(s) + `"` }

// binary is a Byte Sequence of RFC 8941 section 4.1.8.
func binary(b []byte) string { return ":" + base64.StdEncoding.EncodeToString(b) + ":" }
