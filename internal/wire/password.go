package wire

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/argon2"
)

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

// hashing bounds how many hashes are computed at once, each in argonMemory.
var hashing = make(chan struct{}, 2)

// hashPassword is how passwords are kept.
func hashPassword(password string) string {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // which ends the process rather than fail
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}
