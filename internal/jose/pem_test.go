package jose

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rrtest/idp"
)

func block(name string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der})
}

// pkixPEM writes a public key that need not be a good one.
func pkixPEM(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return block("PUBLIC KEY", der)
}

// certificate is one that expired long ago, for the key, in PEM.
func certificate(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotAfter: time.Unix(1, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return block("CERTIFICATE", der)
}

func TestPublicKeysInPEM(t *testing.T) {
	ring := newKeyring(t)
	r, ec, okp := ring["RS256"], ring["ES384"], ring["EdDSA"]
	for name, c := range map[string]struct {
		in   []byte
		want []*idp.Key
	}{
		"RSA":                      {r.PublicPEM(), []*idp.Key{r}},
		"EC":                       {ec.PublicPEM(), []*idp.Key{ec}},
		"Ed25519":                  {okp.PublicPEM(), []*idp.Key{okp}},
		"PKCS#1":                   {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(r.Private.Public().(*rsa.PublicKey))), []*idp.Key{r}},
		"a certificate":            {certificate(t, ec.Private), []*idp.Key{ec}},
		"several, of all kinds":    {slices.Concat(okp.PublicPEM(), certificate(t, r.Private), ec.PublicPEM()), []*idp.Key{okp, r, ec}},
		"with text around":         {slices.Concat([]byte("subject=x\n"), ec.PublicPEM(), []byte("\nissuer=x\n"), okp.PublicPEM(), []byte("end")), []*idp.Key{ec, okp}},
		"with CR LF":               {bytes.ReplaceAll(ec.PublicPEM(), []byte("\n"), []byte("\r\n")), []*idp.Key{ec}},
		"without the last newline": {bytes.TrimSpace(ec.PublicPEM()), []*idp.Key{ec}},
		"the same twice":           {slices.Concat(ec.PublicPEM(), ec.PublicPEM()), []*idp.Key{ec, ec}},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParsePublicPEM(c.in)
			if err != nil || len(keys) != len(c.want) {
				t.Fatalf("%d keys, %v", len(keys), err)
			}
			for i, want := range c.want {
				if k := keys[i]; k.ThumbprintText() != want.Thumbprint() || k.ID != "" || k.Alg != "" || !verifies(want.Token(map[string]any{}, nil), keys[i:i+1], Asymmetric) {
					t.Errorf("key %d is %+v", i, k)
				}
			}
		})
	}
}

func TestPEMThatIsRefused(t *testing.T) {
	ring := newKeyring(t)
	good, ec := ring["EdDSA"].PublicPEM(), ring["ES256"].Private.(*ecdsa.PrivateKey)
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private := "it is a private key"
	for name, c := range map[string]struct {
		in     []byte
		reason string
	}{
		"nothing":                      {nil, "holds no public key"},
		"text":                         {[]byte("s3cret"), "holds no public key"},
		"a JWK":                        {mustJSON(t, ring["ES256"].JWK()), "holds no public key"},
		"base64 alone":                 {[]byte(bytes64(ring["ES256"].PublicDER())), "holds no public key"},
		"DER":                          {ring["ES256"].PublicDER(), "holds no public key"},
		"PKCS#8":                       {ring["ES256"].PrivatePEM(), private},
		"PKCS#1":                       {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(ring["RS256"].Private.(*rsa.PrivateKey))), private},
		"SEC 1":                        {block("EC PRIVATE KEY", sec1), private},
		"an encrypted private key":     {block("ENCRYPTED PRIVATE KEY", []byte("s3cret")), private},
		"OpenSSH's":                    {block("OPENSSH PRIVATE KEY", []byte("s3cret")), private},
		"a private key behind a good":  {slices.Concat(good, ring["ES256"].PrivatePEM()), private},
		"a request":                    {block("CERTIFICATE REQUEST", []byte("s3cret")), "is no public key"},
		"junk in a public key":         {block("PUBLIC KEY", []byte("s3cret")), "cannot be read"},
		"junk in a PKCS#1 key":         {block("RSA PUBLIC KEY", []byte("s3cret")), "cannot be read"},
		"junk in a certificate":        {block("CERTIFICATE", []byte("s3cret")), "cannot be read"},
		"an empty block":               {block("PUBLIC KEY", nil), "cannot be read"},
		"another key in the block":     {block("RSA PUBLIC KEY", ring["ES256"].PublicDER()), "cannot be read"},
		"something behind the key":     {block("PUBLIC KEY", append(ring["ES256"].PublicDER(), 0)), "cannot be read"},
		"a bad one behind a good one":  {slices.Concat(good, block("PUBLIC KEY", []byte("s3cret"))), "cannot be read"},
		"RSA of 1024 bits":             {pkixPEM(t, &rsa.PublicKey{N: modulus(1024), E: 65537}), "1024 bits"},
		"RSA of 16384 bits":            {pkixPEM(t, &rsa.PublicKey{N: modulus(16384), E: 65537}), "16384 bits"},
		"RSA with an even exponent":    {pkixPEM(t, &rsa.PublicKey{N: modulus(2048), E: 4}), "exponent"},
		"RSA with a huge exponent":     {pkixPEM(t, &rsa.PublicKey{N: modulus(2048), E: 1<<31 + 1}), "exponent"},
		"P-224":                        {pkixPEM(t, p224.Public()), "curve other than"},
		"half a block":                 {good[:len(good)/2], "not complete"},
		"half a block behind a good":   {slices.Concat(good, good[:len(good)/2]), "not complete"},
		"half a block before a good":   {slices.Concat(good[:len(good)/2], []byte("\n"), good), "not complete"},
		"a block whose end is another": {bytes.Replace(good, []byte("END PUBLIC"), []byte("END RSA PUBLIC"), 1), "not complete"},
		"a block with a bad letter":    {slices.Concat(good, bytes.Replace(good, []byte("M"), []byte("!"), 1)), "not complete"},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := ParsePublicPEM(c.in)
			if err == nil || keys != nil || !strings.Contains(err.Error(), c.reason) || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %v and %v, want %q", keys, err, c.reason)
			}
		})
	}
}

// FuzzParsePublicPEM: nothing panics, and what is read are public keys.
func FuzzParsePublicPEM(f *testing.F) {
	ring := newKeyring(f)
	for _, alg := range Asymmetric {
		f.Add(ring[alg].PublicPEM())
	}
	f.Add(certificate(f, ring["ES256"].Private))
	f.Add(ring["ES256"].PrivatePEM())
	f.Add(block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(ring["RS256"].Private.Public().(*rsa.PublicKey))))
	f.Add(slices.Concat(ring["EdDSA"].PublicPEM(), ring["ES256"].PublicPEM()))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParsePublicPEM(data)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			checkPublic(t, k)
		}
	})
}
