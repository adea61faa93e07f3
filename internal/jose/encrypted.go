package jose

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	_ "crypto/sha1" // what old files derive their key with
	_ "crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
)

// maxIterations bounds the work that a file can demand when its key is derived from the
// password: openssl's own number is 2,048, others take up to a million.
const maxIterations = 10_000_000

// Object identifiers of PKCS #5 (RFC 8018 appendix A and B) and of AES (RFC 8018 appendix
// B.2.5).
var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
	oidScrypt = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}

	// keySizes are the ciphers that are read, by identifier, with their keys' sizes.
	keySizes = map[string]int{
		"2.16.840.1.101.3.4.1.2":  16, // AES-128-CBC
		"2.16.840.1.101.3.4.1.22": 24,
		"2.16.840.1.101.3.4.1.42": 32,
	}
	// prfs are the HMACs that PBKDF2 may be built on, by identifier.
	prfs = map[string]crypto.Hash{
		"1.2.840.113549.2.7":  crypto.SHA1,
		"1.2.840.113549.2.8":  crypto.SHA224,
		"1.2.840.113549.2.9":  crypto.SHA256,
		"1.2.840.113549.2.10": crypto.SHA384,
		"1.2.840.113549.2.11": crypto.SHA512,
	}
)

// encryptedKey is an EncryptedPrivateKeyInfo (RFC 5958 section 3).
type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

// pbes2 are its parameters (RFC 8018 appendix A.4).
type pbes2 struct {
	Derivation, Scheme pkix.AlgorithmIdentifier
}

// derivation are those of PBKDF2 (RFC 8018 appendix A.2).
type derivation struct {
	Salt       []byte
	Iterations int
	Length     int                      `asn1:"optional"`
	PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
}

var (
	errEncryptedForm = errors.New("the private key is encrypted in a form that cannot be read; `openssl pkcs8 -topk8 -v2 aes-256-cbc` writes one that can")
	errWrongPassword = errors.New("the password is not the private key's")
)

// decryptPKCS8 opens an encrypted PKCS #8 key (PBES2 with PBKDF2 and AES). Whether it was
// the right password shows when the result is parsed.
func decryptPKCS8(der, password []byte) ([]byte, error) {
	var outer encryptedKey
	var params pbes2
	if rest, err := asn1.Unmarshal(der, &outer); err != nil || len(rest) > 0 {
		return nil, errEncryptedForm
	}
	if !outer.Algorithm.Algorithm.Equal(oidPBES2) {
		return nil, fmt.Errorf("%w (it is not PBES2)", errEncryptedForm)
	}
	if rest, err := asn1.Unmarshal(outer.Algorithm.Parameters.FullBytes, &params); err != nil || len(rest) > 0 {
		return nil, errEncryptedForm
	}
	size, ok := keySizes[params.Scheme.Algorithm.String()]
	if !ok {
		return nil, fmt.Errorf("%w (its cipher is not AES-CBC)", errEncryptedForm)
	}
	var iv []byte
	if rest, err := asn1.Unmarshal(params.Scheme.Parameters.FullBytes, &iv); err != nil || len(rest) > 0 || len(iv) != aes.BlockSize {
		return nil, errEncryptedForm
	}
	if len(outer.Data) == 0 || len(outer.Data)%aes.BlockSize != 0 {
		return nil, errEncryptedForm
	}
	key, err := deriveKey(params.Derivation, password, size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(outer.Data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, outer.Data)
	return unpad(plain)
}

func deriveKey(how pkix.AlgorithmIdentifier, password []byte, size int) ([]byte, error) {
	if how.Algorithm.Equal(oidScrypt) {
		return nil, fmt.Errorf("%w (its password goes through scrypt)", errEncryptedForm)
	}
	var d derivation
	rest, err := asn1.Unmarshal(how.Parameters.FullBytes, &d)
	if err != nil || len(rest) > 0 || !how.Algorithm.Equal(oidPBKDF2) || d.Length != 0 && d.Length != size {
		return nil, errEncryptedForm
	}
	if d.Iterations < 1 || d.Iterations > maxIterations {
		return nil, fmt.Errorf("the private key's password goes through %d iterations; at most %d are done", d.Iterations, maxIterations)
	}
	hash := crypto.SHA1 // the default (RFC 8018 appendix A.2)
	if len(d.PRF.Algorithm) > 0 {
		var ok bool
		if hash, ok = prfs[d.PRF.Algorithm.String()]; !ok {
			return nil, errEncryptedForm
		}
	}
	return pbkdf2.Key(hash.New, string(password), d.Salt, d.Iterations, size)
}

// unpad takes off the padding (RFC 8018 section 6.1.1), which a wrong password is most
// likely to have spoilt.
func unpad(plain []byte) ([]byte, error) {
	n := int(plain[len(plain)-1])
	if n == 0 || n > aes.BlockSize || !bytes.Equal(plain[len(plain)-n:], bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, errWrongPassword
	}
	return plain[:len(plain)-n], nil
}
