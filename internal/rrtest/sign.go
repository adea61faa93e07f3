package rrtest

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// Client makes a certificate for a TLS client. change, unless it is nil, changes what is
// signed: names, times, uses.
func (ca *CA) Client(t testing.TB, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, template := newKey(t), template("client")
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Intermediate makes a CA whose certificate this one signs.
func (ca *CA) Intermediate(t testing.TB, change func(*x509.Certificate)) *CA {
	t.Helper()
	sub := &CA{Pool: x509.NewCertPool(), key: newKey(t)}
	template := template("rrtest intermediate CA")
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, sub.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if sub.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	sub.Pool.AddCert(sub.cert)
	sub.File = filepath.Join(t.TempDir(), "intermediate.pem")
	writePEM(t, sub.File, "CERTIFICATE", der)
	return sub
}

// Certificate is the CA's own certificate.
func (ca *CA) Certificate() *x509.Certificate { return ca.cert }

// Show has a client of this package show a certificate to servers that ask for one.
func Show(t testing.TB, client *http.Client, c tls.Certificate) {
	t.Helper()
	switch tr := client.Transport.(type) {
	case *http.Transport:
		tr.TLSClientConfig.Certificates = []tls.Certificate{c}
	case *http3.Transport:
		tr.TLSClientConfig.Certificates = []tls.Certificate{c}
	default:
		t.Fatalf("a client with a %T is none of this package", tr)
	}
}
