package wire

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// hashKey is how keys and tokens are kept.
func hashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// shortKey is less than 128 random bits in base64url, the densest usual notation.
const shortKey = 22

// foldKeys makes hashes of keys, and a key if there is none.
func foldKeys(x *secretReader) {
	foldFrom(x)
	keys, _ := x.values["keys"].([]any)
	if key, ok := x.values["key"].(string); ok {
		keys = append(keys, key)
	}
	hashes := x.ownHashes()
	for i, k := range keys {
		hashes = append(hashes, x.hashed(k.(string), i, len(keys)))
	}
	said := x.given("key") || x.given("keys") || x.given("hashes")
	for _, name := range []string{"key", "keys", "hashes"} {
		if x.given(name) && x.values[name] == nil && !x.bad[name] {
			x.fault(x.place(name, name), "a key cannot be taken away, only replaced; to have one made, rotate")
		}
		delete(x.values, name)
	}
	if !said && x.renew {
		hashes = append(hashes, hashKey(x.makeKey()))
	}
	if len(hashes) > 0 {
		x.values["hashes"] = hashes
	}
}

func (x *secretReader) makeKey() string {
	key, err := secret.NewKey(secret.DefaultKeyPrefix, rand.Reader)
	if err != nil { // only with another prefix, or without random numbers
		panic(err)
	}
	x.made.Key = key
	return key
}

// hashed is the hash of one of n keys.
func (x *secretReader) hashed(key string, i, n int) string {
	at := x.place("key", "key")
	if !x.given("key") || i < n-1 {
		at = pointer(x.place("keys", "keys"), i)
	}
	switch {
	case strings.TrimSpace(key) != key || key == "":
		x.fault(at, "it is empty, or has a space before or behind it")
	case strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }):
		x.fault(at, "it has a control character, which a header cannot carry")
	case len(key) < shortKey:
		x.made.Warnings = append(x.made.Warnings, fmt.Sprintf("the key has %d characters, and can be guessed more easily than one of 128 random bits, which has %d; leave it out to have one made", len(key), shortKey))
	}
	return hashKey(key)
}

// ownHashes are hashes that are said.
func (x *secretReader) ownHashes() []any {
	list, _ := x.values["hashes"].([]any)
	hashes := make([]any, 0, len(list))
	for i, h := range list {
		digits, ok := strings.CutPrefix(h.(string), "sha256:")
		if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != sha256.Size {
			x.fault(pointer(x.place("hashes", "hashes"), i), "it has to be sha256: and 64 hexadecimal digits, as `caddy rr keygen` prints it")
			x.bad["hashes"] = true
			continue
		}
		hashes = append(hashes, strings.ToLower(h.(string)))
	}
	return hashes
}

func needsKey(x *secretReader) {
	list, _ := x.spec["hashes"].([]any)
	if len(list) == 0 && !x.bad["hashes"] && !x.bad["key"] && !x.bad["keys"] {
		x.fault(x.place("hashes", "key"), "there is no key")
	}
	if len(list) > MaxKeys {
		x.fault(x.at, "it has %d keys, at most %d are taken", len(list), MaxKeys)
	}
}

// foldToken makes a hash of a token.
func foldToken(x *secretReader) {
	token, ok := x.values["token"].(string)
	delete(x.values, "token")
	if !ok {
		return
	}
	if strings.TrimSpace(token) != token || token == "" {
		x.fault(x.place("token", "token"), "it is empty, or has a space before or behind it")
	}
	x.values["hashes"] = []any{hashKey(token)}
}

func needsToken(x *secretReader) {
	if x.spec["hashes"] == nil && !x.bad["token"] || x.given("token") && x.values["hashes"] == nil && !x.bad["token"] {
		x.fault(x.place("token", "token"), "token is missing: %s needs it", x.kind.types[0])
	}
}

// foldPassword makes a hash of a password.
func foldPassword(x *secretReader) {
	if name, _ := x.values["username"].(string); strings.Contains(name, ":") {
		x.fault(x.place("username", "username"), "it may not have a colon in it (RFC 7617 section 2)")
	}
	if password, _ := x.values["password"].(string); password != "" {
		hash, err := hashPassword(password)
		if err != nil {
			x.failed, x.bad["password"] = err, true
		}
		x.values["password"] = hash
	}
}

// The parameters of password hashes are those of `caddy hash-password --algorithm
// argon2id`: the verifier compares with such a hash too when it does not know a user, so
// that the time it takes does not tell who there is.
const (
	argonTime    = 1
	argonMemory  = 46 << 10 // KiB
	argonThreads = 1
	argonKey     = 32 // bytes
	argonSalt    = 16 // bytes
)

// ErrBusy is the error of a Decode function when too many passwords are hashed already: the
// same body may be taken in a moment. It is a context.DeadlineExceeded, as it would be if
// its caller had waited.
var ErrBusy = fmt.Errorf("too many passwords are hashed at the moment: %w", context.DeadlineExceeded)

// maxHashing is how many hashes may be computed or waited for at once; with one every 50 ms
// or so nobody waits for longer than a second or two.
const maxHashing = 32

var (
	// hashing bounds how many hashes are computed at once, each in argonMemory.
	hashing = make(chan struct{}, 2)
	// queued bounds how many are waited for, those that are computed among them.
	queued = make(chan struct{}, maxHashing)
)

// hashPassword is how passwords are kept. The error is ErrBusy.
func hashPassword(password string) (string, error) {
	select {
	case queued <- struct{}{}:
		defer func() { <-queued }()
	default:
		return "", ErrBusy
	}
	hashing <- struct{}{}
	defer func() { <-hashing }()
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // which ends the process rather than fail
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}
