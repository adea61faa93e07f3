package verify

import (
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// What is remembered of certificates: how many, of what size in bytes, and for how long.
// Checking a chain takes about a tenth of a millisecond, and callers keep their certificate
// for many requests.
const (
	maxKnownCertificates = 1 << 12
	maxKnownSize         = 8 << 10
	recogniseFor         = time.Minute
)

// knownCertificate is a certificate and what it was judged by.
type knownCertificate struct{ certificate, trust digest }

// recognised is what is known of a certificate that is accepted, if it is trusted. It is
// shared by requests and never changes.
type recognised struct {
	// named is who it is, for a certificate that somebody vouches for.
	named Identity
	// bare is who it is by its fingerprint alone. What it says of itself is worth nothing.
	bare   Identity
	pinned bool
	// trusted is that it leads to one of ca.
	trusted bool
	until   time.Time
}

// maxIntermediates bounds the certificates between the caller's and a trusted one.
const maxIntermediates = 8

// verifyChain checks that the first certificate leads to one that is trusted, by way of
// the others.
func verifyChain(presented []*x509.Certificate, roots *x509.CertPool, now time.Time) error {
	if len(presented) > 1+maxIntermediates {
		return errors.New("the client certificate comes with too many others")
	}
	intermediates := x509.NewCertPool()
	for _, c := range presented[1:] {
		intermediates.AddCert(c)
	}
	_, err := presented[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return errors.New("the client certificate does not lead to one of ca: " + chainFault(err))
	}
	return nil
}

// chainFault says why without quoting names, which the caller chose.
func chainFault(err error) string {
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "one has expired or is not valid yet"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "it is not for clients (extended key usage)"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "its issuer is unknown"
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		return "it has a critical extension that is not known"
	}
	return "a constraint of a certificate is not met"
}

// verifiedNow tells whether Caddy verified the certificate when the connection was made,
// and the chain has not expired since.
func verifiedNow(chains [][]*x509.Certificate, now time.Time) bool {
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return len(chain) > 0 && !slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
			return now.Before(c.NotBefore) || now.After(c.NotAfter)
		})
	})
}
