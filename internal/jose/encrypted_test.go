package jose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// encryptedPassword opens the files of testdata/encrypted, which openssl 3.0 wrote: all
// of them hold the key of plain.pem.
const encryptedPassword = "correct-horse"

func encryptedFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "encrypted", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEncryptedSigners(t *testing.T) {
	plain, err := ParseSigner(encryptedFile(t, "plain"), "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sha256-aes256", "sha1-aes128", "sha512-aes192-600000"} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseEncryptedSigner(encryptedFile(t, name), []byte(encryptedPassword), "ES256", "k")
			if err != nil {
				t.Fatal(err)
			}
			if s.Public().Thumbprint != plain.Public().Thumbprint {
				t.Error("it is another key")
			}
			raw, err := s.Sign(nil, map[string]any{"sub": "svc"})
			if err != nil || !verifies(raw, []*Key{plain.Public()}, Asymmetric) {
				t.Error(err)
			}
		})
	}
}

func TestEncryptedSignersThatAreRefused(t *testing.T) {
	good := encryptedFile(t, "sha256-aes256")
	der := func() []byte { b, _ := pem.Decode(good); return b.Bytes }
	cut := der()
	cut = cut[:len(cut)-1]
	for name, c := range map[string]struct {
		in               []byte
		password, reason string
	}{
		"no password":             {good, "", "is encrypted, and has no password"},
		"a wrong password":        {good, "wrong-horse", "the password is not"},
		"scrypt":                  {encryptedFile(t, "scrypt"), encryptedPassword, "scrypt"},
		"3DES":                    {encryptedFile(t, "des3"), encryptedPassword, "not AES-CBC"},
		"PBES1":                   {encryptedFile(t, "pbes1"), encryptedPassword, "not PBES2"},
		"openssl's old form":      {encryptedFile(t, "proc-type"), encryptedPassword, "too weak (its PEM has a Proc-Type)"},
		"the old form, unopened":  {encryptedFile(t, "proc-type"), "", "too weak"},
		"a password for nothing":  {encryptedFile(t, "plain"), encryptedPassword, "is not encrypted"},
		"a password for a JWK":    {[]byte(`{"kty":"EC"}`), encryptedPassword, "is not encrypted"},
		"junk":                    {block("ENCRYPTED PRIVATE KEY", []byte("junk")), encryptedPassword, "cannot be read"},
		"a key that was cut off":  {block("ENCRYPTED PRIVATE KEY", cut), encryptedPassword, "cannot be read"},
		"something behind it":     {block("ENCRYPTED PRIVATE KEY", append(der(), 0)), encryptedPassword, "cannot be read"},
		"a hundred million turns": {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 100_000_000, 16, 16)), encryptedPassword, "at most 10000000"},
		"no turn":                 {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 0, 16, 16)), encryptedPassword, "at most"},
		"a short vector":          {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 1, 8, 16)), encryptedPassword, "cannot be read"},
		"half a block":            {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 1, 16, 8)), encryptedPassword, "cannot be read"},
		"no block":                {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 1, 16, 0)), encryptedPassword, "cannot be read"},
		"not a key inside":        {block("ENCRYPTED PRIVATE KEY", encrypt(t, []byte("x"), 1, 16, 16)), encryptedPassword, "the password is not"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseEncryptedSigner(c.in, []byte(c.password), "", "")
			if err == nil || s != nil || !strings.Contains(err.Error(), c.reason) {
				t.Fatalf("got %v and %v, want %q", s, err, c.reason)
			}
			for _, secret := range append(secretsIn(t, c.in), encryptedPassword, "wrong-horse") {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error has %q: %v", secret, err)
				}
			}
		})
	}
	if _, err := ParseSigner(good, "", ""); err == nil || !strings.Contains(err.Error(), "has no password") {
		t.Errorf("ParseSigner: %v", err)
	}
}

// encrypt makes an encrypted key of anything, well-formed or not: with an initialization
// vector of iv bytes, and cut to size bytes.
func encrypt(t testing.TB, plain []byte, iterations, iv, size int) []byte {
	t.Helper()
	marshal := func(v any) asn1.RawValue {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return asn1.RawValue{FullBytes: b}
	}
	salt := []byte("salt")
	key, err := pbkdf2.Key(sha256.New, encryptedPassword, salt, 1, 16)
	if err != nil {
		t.Fatal(err)
	}
	cipherBlock, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	n := aes.BlockSize - len(plain)%aes.BlockSize
	for range n {
		plain = append(plain, byte(n))
	}
	data := make([]byte, len(plain))
	cipher.NewCBCEncrypter(cipherBlock, make([]byte, 16)).CryptBlocks(data, plain)
	id := func(parts ...int) asn1.ObjectIdentifier { return parts }
	return marshal(encryptedKey{
		Algorithm: pkix.AlgorithmIdentifier{Algorithm: oidPBES2, Parameters: marshal(pbes2{
			Derivation: pkix.AlgorithmIdentifier{Algorithm: oidPBKDF2, Parameters: marshal(derivation{
				Salt: salt, Iterations: iterations, Length: 16,
				PRF: pkix.AlgorithmIdentifier{Algorithm: id(1, 2, 840, 113549, 2, 9), Parameters: asn1.NullRawValue},
			})},
			Scheme: pkix.AlgorithmIdentifier{Algorithm: id(2, 16, 840, 1, 101, 3, 4, 1, 2), Parameters: marshal(make([]byte, iv))},
		})},
		Data: data[:min(size, len(data))],
	}).FullBytes
}

func TestEncryptedByHand(t *testing.T) {
	b, _ := pem.Decode(encryptedFile(t, "plain"))
	der := encrypt(t, b.Bytes, 1, 16, 1<<10)
	if _, err := ParseEncryptedSigner(block("ENCRYPTED PRIVATE KEY", der), []byte(encryptedPassword), "", ""); err != nil {
		t.Error(err)
	}
}

// FuzzDecryptPKCS8: what somebody hands over as a key can be refused, no more. It does not
// decide how much work that is, and no error tells the password.
func FuzzDecryptPKCS8(f *testing.F) {
	for _, name := range []string{"sha256-aes256", "sha1-aes128", "scrypt", "des3", "pbes1"} {
		b, _ := pem.Decode(encryptedFile(f, name))
		f.Add(b.Bytes, encryptedPassword)
	}
	f.Add(encrypt(f, []byte("x"), 1, 16, 16), encryptedPassword)
	f.Fuzz(func(t *testing.T, der []byte, password string) {
		var outer encryptedKey
		var params pbes2
		var d derivation
		if _, err := asn1.Unmarshal(der, &outer); err == nil {
			if _, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &params); err == nil {
				_, _ = asn1.Unmarshal(params.Derivation.Parameters.FullBytes, &d)
			}
		}
		if d.Iterations > 10_000 && d.Iterations <= maxIterations {
			return // it would only take long
		}
		plain, err := decryptPKCS8(der, []byte(password))
		switch {
		case err == nil && d.Iterations > maxIterations:
			t.Errorf("%d rounds were made", d.Iterations)
		case err == nil && len(plain) > len(der):
			t.Errorf("%d bytes became %d", len(der), len(plain))
		case err != nil && len(password) > 8 && strings.Contains(err.Error(), password):
			t.Errorf("the error tells the password: %v", err)
		case err == nil:
			_, _ = x509.ParsePKCS8PrivateKey(plain)
		}
	})
}
