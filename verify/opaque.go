package verify

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// digest is the SHA-256 of an opaque credential. Only digests are kept for comparing.
type digest = [sha256.Size]byte

// digestOf hashes without allocating for credentials of usual length.
func digestOf(s string) digest {
	var buf [128]byte
	if len(s) <= len(buf) {
		return sha256.Sum256(buf[:copy(buf[:], s)])
	}
	return sha256.Sum256([]byte(s))
}

// opaque is what the kinds key, bearer and jwt have in common: the credential is one
// string, known beforehand, and compared whole. The gate finds all of them by digest in
// one look-up, however many there are.
type opaque struct {
	secrets  []*secret.Value
	hashes   []digest
	carriers []Carrier
	expires  time.Time
	now      func() time.Time
}

// provision resolves secrets and checks hashes and carriers; defaults are the carriers
// of a kind without `from`.
func (o *opaque) provision(ctx caddy.Context, secrets []secret.String, hashes []string, carriers, defaults []Carrier) error {
	for i, s := range secrets {
		v, err := s.Resolve(ctx)
		if err != nil {
			return fmt.Errorf("secret %d: %w", i+1, err)
		}
		o.secrets = append(o.secrets, v)
	}
	for i, h := range hashes {
		d, err := ParseHash(h)
		if err != nil {
			return fmt.Errorf("hash %d: %w", i+1, err)
		}
		o.hashes = append(o.hashes, d)
	}
	if len(o.secrets)+len(o.hashes) == 0 {
		return errors.New("no secret and no hash: nothing could ever be accepted")
	}
	if len(carriers) == 0 {
		carriers = defaults
	}
	for i := range carriers {
		if err := carriers[i].Validate(); err != nil {
			return err
		}
	}
	o.carriers = carriers
	o.now = time.Now
	return nil
}

// Carriers implements Carrying.
func (o *opaque) Carriers() []Carrier { return o.carriers }

// digests are those of the secrets now and of the configured hashes.
func (o *opaque) digests() []digest {
	ds := make([]digest, 0, len(o.secrets)+len(o.hashes))
	for _, v := range o.secrets {
		ds = append(ds, digestOf(v.Get()))
	}
	return append(ds, o.hashes...)
}

func (o *opaque) expired() bool { return !o.expires.IsZero() && !o.now().Before(o.expires) }

// Verify implements Verifier for use outside a gate; a gate looks up the digest in its
// index instead, for all opaque verifiers at once.
func (o *opaque) Verify(r *http.Request) (Identity, error) {
	seen := false
	for _, c := range o.carriers {
		v, err := c.Read(r)
		if errors.Is(err, ErrAbsent) {
			continue
		}
		if err != nil {
			return Identity{}, err
		}
		seen = true
		d := digestOf(v)
		for _, known := range o.digests() {
			if subtle.ConstantTimeCompare(d[:], known[:]) == 1 {
				if o.expired() {
					return Identity{}, fmt.Errorf("%w: %w", ErrRejected, errExpired)
				}
				return Identity{Expires: o.expires}, nil
			}
		}
	}
	if !seen {
		return Identity{}, ErrAbsent
	}
	return Identity{}, ErrRejected
}

var errExpired = errors.New("the credential has expired")

// opaqueVerifier is implemented by the kinds that embed opaque.
type opaqueVerifier interface {
	Verifier
	opaqueParts() *opaque
}

func (o *opaque) opaqueParts() *opaque { return o }

// HashPrefix begins a hash line: sha256:<64 hexadecimal digits>.
const HashPrefix = "sha256:"

// ParseHash reads a hash as `caddy rr keygen` prints it.
func ParseHash(s string) (digest, error) {
	var d digest
	text, ok := strings.CutPrefix(s, HashPrefix)
	if !ok || len(text) != hex.EncodedLen(len(d)) {
		return d, errors.New("a hash is sha256: and 64 hexadecimal digits, as `caddy rr keygen` prints it")
	}
	if _, err := hex.Decode(d[:], []byte(text)); err != nil {
		return d, errors.New("a hash is sha256: and 64 hexadecimal digits, as `caddy rr keygen` prints it")
	}
	return d, nil
}

// FormatHash is the hash line of a key.
func FormatHash(key string) string {
	d := digestOf(key)
	return HashPrefix + hex.EncodeToString(d[:])
}
