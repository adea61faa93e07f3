package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// errNoHTTP stands for all that net/http has to say about a broken answer: it quotes it,
// and an answer may hold a secret.
var errNoHTTP = errors.New("the answer is not valid HTTP")

// plainTexts begin the errors of net/http and crypto/tls that have no type of their own and
// quote nothing.
var plainTexts = []string{
	"tls: ",
	"x509: ",
	"net/http: TLS handshake timeout",
	"net/http: server response headers exceeded",
	"http: server closed idle connection",
	"net/http: invalid header field ", // names the field, not its value
}

// discreet is an error of an exchange in a form that quotes nothing of what was sent or
// received. The end of the context comes first: what else broke, broke by it.
func discreet(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if safe(err) {
		return err
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		for _, text := range plainTexts {
			if strings.HasPrefix(inner.Error(), text) {
				return inner
			}
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.ErrUnexpectedEOF
	}
	return errNoHTTP
}

// safe reports whether an error is of a type that speaks of addresses and certificates
// alone.
func safe(err error) bool {
	for _, target := range []any{
		new(*refusal), new(*net.OpError), new(*net.DNSError), new(*net.AddrError),
		new(tls.RecordHeaderError), new(tls.AlertError), new(*tls.CertificateVerificationError),
		new(x509.HostnameError), new(x509.UnknownAuthorityError), new(x509.CertificateInvalidError),
	} {
		if errors.As(err, target) {
			return true
		}
	}
	return errors.Is(err, http.ErrSchemeMismatch)
}
