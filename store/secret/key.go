package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"
)

// DefaultKeyPrefix makes keys recognisable to people and to secret scanners.
const DefaultKeyPrefix = "rr_live_"

var keyPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

// keyBytes is 256 bits.
const keyBytes = 32

// NewKey makes an API key: the prefix, 256 random bits in base64url (43 characters) and a
// checksum, so that a scanner can tell a key from other text without asking anybody.
func NewKey(prefix string, random io.Reader) (string, error) {
	if !keyPrefix.MatchString(prefix) {
		return "", errors.New("a key's prefix is up to 32 letters, digits, underscores and hyphens")
	}
	b := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	body := prefix + base64.RawURLEncoding.EncodeToString(b)
	return body + checksum(body), nil
}

// checksum is the CRC-32 (IEEE) of everything before it, in 8 hexadecimal digits. It
// guards against typing errors, not against attackers.
func checksum(body string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}

// CheckKey reports whether a key's checksum fits.
func CheckKey(key string) bool {
	n := len(key) - 8
	return n > 0 && strings.EqualFold(key[n:], checksum(key[:n]))
}
