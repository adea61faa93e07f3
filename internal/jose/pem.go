package jose

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// ParsePublicPEM reads public keys and certificates (PKIX, PKCS#1, X.509) in PEM. Of a
// certificate only the key is used: who hands it over in a configuration vouches for it.
func ParsePublicPEM(data []byte) ([]*Key, error) {
	var keys []*Key
	blocks := bytes.Count(data, []byte(begin))
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		public, err := publicBlock(block)
		if err != nil {
			return nil, err
		}
		k, err := NewKey(public, "", "")
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	if len(keys) < blocks { // which pem.Decode passes over: a key that somebody counts on would be missing
		return nil, errors.New("one of its PEM blocks is not complete")
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no public key or certificate in PEM (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, nil
}

func publicBlock(block *pem.Block) (public any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		if strings.Contains(block.Type, "PRIVATE KEY") {
			return nil, errors.New("it is a private key, where only the public one is needed: whoever verifies must not be able to sign")
		}
		return nil, fmt.Errorf("a PEM block %q is no public key and no certificate", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("its PEM block %q cannot be read", block.Type)
	}
	return public, nil
}

// begin is what a block in PEM begins with (RFC 7468 section 2).
const begin = "-----BEGIN "

// IsPEM reports whether a text is, or has in it, something in PEM.
func IsPEM(text string) bool { return strings.Contains(text, begin) }
