package dpop

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// nonces makes and knows nonces without remembering any (RFC 9449 section 8): each is the
// number of a step of time, under a key. All clients get the same; what they cannot do is
// make a proof before its time.
type nonces struct {
	key  []byte
	step time.Duration
}

const minNonceKey = 32

// processKey is as old as the process, so that nonces outlive a change of configuration.
var processKey = sync.OnceValue(func() []byte {
	key := make([]byte, minNonceKey)
	_, _ = rand.Read(key) // never fails
	return key
})

func newNonces(key []byte, step time.Duration) (*nonces, error) {
	if key == nil {
		key = processKey()
	}
	if len(key) < minNonceKey {
		return nil, fmt.Errorf("the key for nonces has %d bytes, it needs %d", len(key), minNonceKey)
	}
	if step < time.Second {
		return nil, errors.New("a nonce has to be valid for a second at least")
	}
	return &nonces{key, step}, nil
}

// current is the nonce of now's step.
func (n *nonces) current(now time.Time) string { return n.of(n.number(now)) }

// check reports whether a nonce is the one of this step or of the one before, and in the
// second case that it is about to end.
func (n *nonces) check(nonce string, now time.Time) (valid, ending bool) {
	number := n.number(now)
	if hmac.Equal([]byte(nonce), []byte(n.of(number))) {
		return true, false
	}
	valid = hmac.Equal([]byte(nonce), []byte(n.of(number-1)))
	return valid, valid
}

func (n *nonces) number(now time.Time) int64 { return now.UnixNano() / int64(n.step) }

// of is 128 bits: nobody guesses one while it lasts.
func (n *nonces) of(number int64) string {
	mac := hmac.New(sha256.New, n.key)
	mac.Write(binary.BigEndian.AppendUint64([]byte("rr DPoP nonce"), uint64(number)))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}
