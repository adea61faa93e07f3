package store

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
	"golang.org/x/crypto/argon2"
)

// An archive is a header and a stream that is sealed in segments (Tink's AES256-GCM-HKDF,
// which see: segments cannot be left out, swapped or cut off). The header says how the
// key is derived, and has a MAC by which a wrong key is known at once.
const (
	archiveMagic   = "caddy-rr archive"
	archiveFormat  = 1
	archiveSegment = 64 << 10
	headerSize     = len(archiveMagic) + 2 + 4 + 4 + 1 + saltSize + sha256.Size
	saltSize       = 16
)

// How an archive is locked.
const (
	lockedByKey        = 1
	lockedByPassphrase = 2
)

// What a passphrase has at least, in characters that are not spaces, and how many of them
// are different.
const (
	minPassphrase = 12
	minDifferent  = 5
)

// argon2id as in RFC 9106 section 4, second choice; and what is accepted of an archive,
// whose header anybody can write.
const (
	argonTime, maxArgonTime       = 3, 16
	argonMemory, maxArgonMemory   = 64 << 10, 256 << 10 // KiB
	argonThreads, maxArgonThreads = 4, 16
)

// Lock is what an archive is sealed with. It cannot be printed.
type Lock struct {
	kind byte
	// master derives the key; a function, because fmt shows what fields hold.
	master func(*archiveHeader) []byte
}

// PassphraseLock is a lock that a passphrase of at least 12 characters opens; spaces do not
// count, and 5 characters have to be different ones.
func PassphraseLock(passphrase string) (Lock, error) {
	n, different := 0, map[rune]bool{}
	for _, c := range passphrase {
		if !unicode.IsSpace(c) {
			n++
			different[c] = true
		}
	}
	switch {
	case n < minPassphrase:
		return Lock{}, fmt.Errorf("the passphrase has to have at least %d characters that are not spaces: who gets the archive can try as many as they like", minPassphrase)
	case len(different) < minDifferent:
		return Lock{}, fmt.Errorf("the passphrase has to have at least %d different characters: who gets the archive can try as many as they like", minDifferent)
	}
	return Lock{lockedByPassphrase, func(h *archiveHeader) []byte {
		return argon2.IDKey([]byte(passphrase), h.salt[:], h.time, h.memory, h.threads, keySize)
	}}, nil
}

// KeyLock is a lock that a key opens.
func KeyLock(k Key) (Lock, error) {
	if k.reveal == nil {
		return Lock{}, errors.New("the key is empty: make it with ParseKey")
	}
	return Lock{lockedByKey, func(*archiveHeader) []byte { return k.reveal() }}, nil
}

// Format keeps the lock's key out of whatever prints it.
func (l Lock) Format(f fmt.State, _ rune) { fmt.Fprint(f, "archive lock") }

// archiveHeader is what an archive begins with, but for its MAC.
type archiveHeader struct {
	format, kind byte
	time, memory uint32
	threads      byte
	salt         [saltSize]byte
}

func (l Lock) newHeader() *archiveHeader {
	h := &archiveHeader{format: archiveFormat, kind: l.kind}
	if l.kind == lockedByPassphrase {
		h.time, h.memory, h.threads = argonTime, argonMemory, argonThreads
	}
	_, _ = rand.Read(h.salt[:]) // never fails (Go 1.24)
	return h
}

func (h *archiveHeader) bytes() []byte {
	b := append(make([]byte, 0, headerSize), archiveMagic...)
	b = append(b, h.format, h.kind)
	b = binary.BigEndian.AppendUint32(b, h.time)
	b = binary.BigEndian.AppendUint32(b, h.memory)
	b = append(b, h.threads)
	return append(b, h.salt[:]...)
}

// readHeader reads a header and its MAC, and refuses what cannot be opened here.
func readHeader(r io.Reader) (h *archiveHeader, mac []byte, err error) {
	b := make([]byte, headerSize)
	if _, err := io.ReadFull(r, b); err != nil || string(b[:len(archiveMagic)]) != archiveMagic {
		return nil, nil, errors.New("it is not an archive that `caddy rr export` made")
	}
	f := b[len(archiveMagic):]
	h = &archiveHeader{format: f[0], kind: f[1], time: binary.BigEndian.Uint32(f[2:]), memory: binary.BigEndian.Uint32(f[6:]), threads: f[10]}
	copy(h.salt[:], f[11:])
	switch {
	case h.format > archiveFormat:
		return nil, nil, fmt.Errorf("%w (format %d): use that version", ErrNewer, h.format)
	case h.kind == lockedByPassphrase && (h.time < 1 || h.time > maxArgonTime || h.memory > maxArgonMemory || h.threads < 1 || h.threads > maxArgonThreads),
		h.format < 1:
		return nil, nil, ErrTampered
	}
	return h, b[headerSize-sha256.Size:], nil
}

// keys derives the key of the stream, and the MAC of the header.
func (l Lock) keys(h *archiveHeader) (stream *subtle.AESGCMHKDF, mac []byte, err error) {
	master := l.master(h)
	streamKey, err := hkdf.Key(sha256.New, master, h.salt[:], archiveMagic+" 1: stream", keySize)
	if err != nil {
		return nil, nil, err
	}
	macKey, err := hkdf.Key(sha256.New, master, h.salt[:], archiveMagic+" 1: header", sha256.Size)
	if err != nil {
		return nil, nil, err
	}
	sum := hmac.New(sha256.New, macKey)
	sum.Write(h.bytes())
	stream, err = subtle.NewAESGCMHKDF(streamKey, "SHA256", keySize, archiveSegment, 0)
	return stream, sum.Sum(nil), err
}

// seal writes the header, and returns what seals the rest. Without its Close the archive
// is incomplete, and will be refused.
func (l Lock) seal(w io.Writer) (io.WriteCloser, error) {
	if l.master == nil {
		return nil, errNoLock
	}
	h := l.newHeader()
	stream, mac, err := l.keys(h)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(append(h.bytes(), mac...)); err != nil {
		return nil, err
	}
	return stream.NewEncryptingWriter(w, h.bytes())
}

var errNoLock = errors.New("there is no passphrase and no key")

// unlock reads the header and returns what opens the rest of an archive.
func (l Lock) unlock(r io.Reader) (open func(io.Reader) (io.Reader, error), err error) {
	if l.master == nil {
		return nil, errNoLock
	}
	h, mac, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	if h.kind != l.kind {
		how := map[byte]string{lockedByKey: "a key", lockedByPassphrase: "a passphrase"}[h.kind]
		if how == "" {
			return nil, ErrTampered
		}
		return nil, fmt.Errorf("%w: it needs %s", ErrWrongKey, how)
	}
	stream, want, err := l.keys(h)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(mac, want) {
		return nil, fmt.Errorf("%w or passphrase, or its first bytes were changed", ErrWrongKey)
	}
	return func(r io.Reader) (io.Reader, error) {
		plain, err := stream.NewDecryptingReader(r, h.bytes())
		if err != nil {
			return nil, ErrTampered
		}
		return &authentic{r: plain}, nil
	}, nil
}

// authentic returns only what is authentic, and io.EOF only at the end of all of it.
type authentic struct {
	r   io.Reader
	err error
}

func (a *authentic) Read(p []byte) (n int, err error) {
	if a.err != nil {
		return 0, a.err
	}
	n, a.err = a.r.Read(p)
	if a.err != nil && !errors.Is(a.err, io.EOF) {
		a.err = ErrTampered
	}
	return n, a.err
}
