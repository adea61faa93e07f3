package examples

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// spiffeDomain issues X509-SVIDs, which have one URI and no other name.
type spiffeDomain struct {
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	bundle string // PEM
}

func newSPIFFE(t *testing.T) *spiffeDomain {
	t.Helper()
	d := &spiffeDomain{key: newECKey(t)}
	der := d.certify(t, &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"SPIFFE"}}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		URIs: []*url.URL{{Scheme: "spiffe", Host: "example.org"}},
	}, nil, d.key)
	var err error
	if d.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	d.bundle = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return d
}

func (d *spiffeDomain) svid(t *testing.T, id string) tls.Certificate {
	t.Helper()
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	key := newECKey(t)
	der := d.certify(t, &x509.Certificate{
		Subject: pkix.Name{Organization: []string{"SPIRE"}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, URIs: []*url.URL{uri},
	}, d.ca, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// certify signs a certificate for an hour; without a parent it signs itself.
func (d *spiffeDomain) certify(t *testing.T, template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Minute), time.Now().Add(time.Hour)
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), d.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
