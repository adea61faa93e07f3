package idp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"
)

// Prover is a client that proves to have a key (DPoP, RFC 9449).
type Prover struct {
	// Key is the client's.
	Key *Key
	// Now is what the prover takes for the time.
	Now func() time.Time
}

// NewProver makes a client with a key of its own; alg is one of Algorithms.
func NewProver(t testing.TB, alg string) *Prover {
	t.Helper()
	return &Prover{Key: NewKey(t, alg, ""), Now: time.Now}
}

// Confirmation is the `cnf` claim of a token that is bound to the client's key (RFC 9449
// section 6.1).
func (p *Prover) Confirmation() map[string]any {
	return map[string]any{"jkt": p.Key.Thumbprint()}
}

// Proof is a proof for a request (RFC 9449 section 4.2); method and url are those of the
// request, url without its query. token is the access token that is sent with it, "" at
// the token endpoint. Claims and header members (nonce, iat, jti, …) are put over those
// of the proof; one that is nil is left out.
func (p *Prover) Proof(method, url, token string, claims, header map[string]any) string {
	own := map[string]any{"htm": method, "htu": url, "iat": p.Now().Unix(), "jti": rand.Text()}
	if token != "" {
		own["ath"] = hash([]byte(token))
	}
	return p.Key.Sign(
		mustJSON(overlay(map[string]any{"typ": "dpop+jwt", "alg": p.Key.Alg, "jwk": p.Key.material()}, header)),
		mustJSON(overlay(own, claims)))
}

// CertificateThumbprint is a certificate's `x5t#S256` (RFC 8705 section 3.1).
func CertificateThumbprint(certificate *x509.Certificate) string { return hash(certificate.Raw) }

// CertificateConfirmation is the `cnf` claim of a token that is bound to a certificate,
// which is the first one of a tls.Certificate, in DER.
func CertificateConfirmation(der []byte) map[string]any {
	return map[string]any{"x5t#S256": hash(der)}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return Base64(sum[:])
}
