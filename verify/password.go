package verify

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"golang.org/x/crypto/bcrypt"
)

// comparer is a password hash of Caddy's (http.authentication.hashes.*).
type comparer interface {
	Compare(hashed, plaintext []byte) (bool, error)
	FakeHash() []byte
}

// comparerOf returns what compares with a hash, nil if the text is not a hash.
func comparerOf(text string) comparer {
	switch {
	case strings.HasPrefix(text, "$2a$"), strings.HasPrefix(text, "$2b$"), strings.HasPrefix(text, "$2y$"):
		return caddyauth.BcryptHash{}
	case strings.HasPrefix(text, "$argon2id$"):
		return caddyauth.Argon2idHash{}
	}
	return nil
}

// maxArgonMemory bounds, in KiB, what one argon2id comparison may use.
const maxArgonMemory = 256 << 10

// checkHash refuses a broken hash when the configuration loads, not on the first call.
func checkHash(text string) error {
	switch comparerOf(text).(type) {
	case caddyauth.BcryptHash:
		if _, err := bcrypt.Cost([]byte(text)); err != nil {
			return errors.New("password: not a complete bcrypt hash; make one with `caddy hash-password`")
		}
	case caddyauth.Argon2idHash:
		if _, _, err := caddyauth.DecodeHash([]byte(text)); err != nil {
			return errors.New("password: not a complete argon2id hash; make one with `caddy hash-password --algorithm argon2id`")
		}
		// $argon2id$v=19$m=47104,t=1,p=1$salt$hash
		_, params, _ := strings.Cut(text, "$m=")
		memory, _, _ := strings.Cut(params, ",")
		if kib, err := strconv.Atoi(memory); err != nil || kib > maxArgonMemory {
			return fmt.Errorf("password: the argon2id hash needs %s KiB of memory for each comparison; at most %d", memory, maxArgonMemory)
		}
	}
	return nil
}

// semaphore bounds how many password hashes are computed at once: each takes a core and
// argon2id up to maxArgonMemory.
type semaphore chan struct{}

var hashSlots = make(semaphore, max(1, runtime.GOMAXPROCS(0)))

// maxWait bounds how long a check waits for its turn.
const maxWait = 2 * time.Second

// busyError is that a check did not get its turn.
type busyError struct{}

func (busyError) Error() string             { return "too many passwords are being checked" }
func (busyError) RetryAfter() time.Duration { return maxWait }

// compare waits for its turn, or until the caller is gone.
func (s semaphore) compare(ctx context.Context, c comparer, hash, password string) (bool, error) {
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case s <- struct{}{}:
		defer func() { <-s }()
	case <-ctx.Done():
		return false, ctx.Err()
	case <-timer.C:
		return false, busyError{}
	}
	return c.Compare([]byte(hash), []byte(password))
}

// flights are the checks under way; who asks the same waits for the answer.
var flights = inFlight{calls: make(map[digest]*flight)}

type inFlight struct {
	mu    sync.Mutex
	calls map[digest]*flight
}

type flight struct {
	done chan struct{}
	ok   bool
	err  error
}

func (f *inFlight) do(ctx context.Context, key digest, check func() (bool, error)) (bool, error) {
	f.mu.Lock()
	if c := f.calls[key]; c != nil {
		f.mu.Unlock()
		select {
		case <-c.done:
			return c.ok, c.err
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	c := &flight{done: make(chan struct{}), err: errors.New("the check ended in a panic")}
	f.calls[key] = c
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.calls, key)
		f.mu.Unlock()
		close(c.done)
	}()
	c.ok, c.err = check()
	return c.ok, c.err
}

// maxVerdicts bounds the memory of verified passwords, about 100 bytes each.
const maxVerdicts = 1 << 14

// verdicts remembers which user, password and hash belong together. The hash is a part
// of the key, so a changed password is a different question.
var verdicts = newBounded[digest, struct{}](maxVerdicts)

// verdictSalt keeps a memory image from being a list of fast password hashes that
// could be compared with others'.
var verdictSalt = func() (b [32]byte) {
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	return b
}()

// verdictKey is over length-prefixed parts, so that no two triples share a key.
func verdictKey(parts ...string) digest {
	mac := hmac.New(sha256.New, verdictSalt[:])
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		mac.Write(n[:])
		mac.Write([]byte(p))
	}
	return digest(mac.Sum(nil))
}

// sum makes texts of any length comparable in constant time.
func sum(s string) string {
	d := digestOf(s)
	return string(d[:])
}
