package cli

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-rr/caddy-rr/verify"
)

// DefaultKeyPrefix makes keys recognisable to people and to secret scanners.
const DefaultKeyPrefix = "rr_live_"

var keyPrefix = regexp.MustCompile(`^[A-Za-z0-9_-]{0,32}$`)

// keyBytes is 256 bits.
const keyBytes = 32

// NewKey makes an API key: the prefix, 256 random bits in base64url (43 characters) and a
// checksum, so that a scanner can tell a
// key from other text without asking anybody.
func NewKey(prefix string, random io.Reader) (string, error) {
	if !keyPrefix.MatchString(prefix) {
		return "", errors.New("a key's prefix is up to 32 letters, digits, underscores and hyphens")
	}
	b := make([]byte, keyBytes)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	body := prefix + base64.RawURLEncoding.EncodeToString(b)
	return body + Checksum(body), nil
}

// Checksum is the CRC-32 (IEEE) of everything before it, in 8 hexadecimal digits. It
// guards against typing errors, not against attackers.
func Checksum(body string) string {
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body)))
}

// CheckKey reports whether a key's checksum fits.
func CheckKey(key string) bool {
	n := len(key) - 8
	return n > 0 && strings.EqualFold(key[n:], Checksum(key[:n]))
}

func keygen() *cobra.Command {
	prefix := DefaultKeyPrefix
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make an API key for a caller",
		Long: `Makes an API key with 256 random bits and prints it, once, with the line that
accepts it. The line holds only the key's SHA-256: the configuration then has no secret.
Nothing is stored.`,
		Example: "  caddy rr keygen\n  caddy rr keygen --prefix acme_test_",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := NewKey(prefix, rand.Reader)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "key:  %s\nhash: %s\n\naccept key {\n\thash %s\n}\n",
				key, verify.FormatHash(key), verify.FormatHash(key))
			return err
		},
	}
	cmd.Flags().StringVar(&prefix, "prefix", prefix, "what the key begins with")
	return cmd
}
