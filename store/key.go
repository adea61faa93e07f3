package store

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead/subtle"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// keySize is that of AES-256.
const keySize = 32

// maxKeyFile bounds what is read of a key file, in bytes.
const maxKeyFile = 4 << 10

var errKeyForm = errors.New("it has to be 32 random bytes in base64, or in hex with 64 digits; make one with `openssl rand -base64 32`")

// Key is a key that other keys are sealed with: the store's keyset, or an archive's. It
// cannot be printed. The zero Key is none.
type Key struct {
	// A function, because fmt shows what unexported fields hold, and for some verbs what
	// their pointers point to.
	reveal func() []byte
}

// ParseKey reads a key that is written as 32 bytes in base64, base64url or hex. Space
// around it does not matter. Errors do not quote it.
func ParseKey(text string) (Key, error) {
	raw, err := decodeKey(strings.TrimSpace(text))
	if err != nil || len(raw) != keySize {
		return Key{}, errKeyForm
	}
	distinct := make(map[byte]bool)
	for _, b := range raw {
		distinct[b] = true
	}
	if len(distinct) < 8 { // of random bytes one in 10^30
		return Key{}, errors.New("it is not random; make one with `openssl rand -base64 32`")
	}
	return Key{func() []byte { return raw }}, nil
}

func decodeKey(text string) ([]byte, error) {
	if len(text) == hex.EncodedLen(keySize) {
		return hex.DecodeString(text)
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	return base64.RawStdEncoding.Strict().DecodeString(text)
}

// ID tells keys apart without telling anything of them: 8 hex digits of a hash.
func (k Key) ID() string {
	if k.reveal == nil {
		return "none"
	}
	sum := sha256.Sum256(append([]byte("caddy-rr key id\x00"), k.reveal()...))
	return hex.EncodeToString(sum[:4])
}

// Format keeps the key out of whatever prints it.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, "key ", k.ID()) }

// aead is AES-256-GCM with the key.
func (k Key) aead() (tink.AEAD, error) {
	if k.reveal == nil {
		return nil, errors.New("the key is empty: make it with ParseKey or LoadKeyFile")
	}
	return subtle.NewAESGCM(k.reveal())
}

// LoadKeyFile reads the key in a file that only its owner may read. A file that is not
// there is fs.ErrNotExist.
func LoadKeyFile(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return Key{}, fmt.Errorf("key file %s: it is not a regular file", path)
	case mode.Perm()&0o077 != 0 && runtime.GOOS != "windows": // where the bits say nothing
		return Key{}, fmt.Errorf("key file %s: others than its owner may use it (mode %04o): run `chmod 600 %[1]s`, and change the key if somebody may have read it", path, mode.Perm())
	case info.Size() > maxKeyFile:
		return Key{}, fmt.Errorf("key file %s: %w", path, errKeyForm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	k, err := ParseKey(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("key file %s: %w", path, err)
	}
	return k, nil
}

// makeKeyFile makes a key and the file that keeps it, and returns when both are durable.
// If there is a file by then, its key is returned: two that start at once agree.
func makeKeyFile(path string) (Key, error) {
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	draft, err := os.CreateTemp(folder, filepath.Base(path)+".*.new") // O_EXCL, 0600
	if err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	defer os.Remove(draft.Name())
	if err := writeKey(draft); err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	// A link is made whole or not at all and takes no other file's place, so that a crash
	// leaves no half key, and no key that something is sealed with is lost.
	if err := os.Link(draft.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("key file: %w; make it by hand: `umask 077; openssl rand -base64 32 >%s`", err, path)
	}
	if err := syncFolder(folder); err != nil {
		return Key{}, fmt.Errorf("key file: %w", err)
	}
	return LoadKeyFile(path)
}

// writeKey writes a new key and closes the file.
func writeKey(f *os.File) error {
	var key [keySize]byte
	_, _ = rand.Read(key[:]) // never fails (Go 1.24)
	_, err := f.WriteString(base64.StdEncoding.EncodeToString(key[:]) + "\n")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// syncFolder makes the names in a folder durable.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" { // where folders cannot be synced
		return nil
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
