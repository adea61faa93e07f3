package verify

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/store/secret"

	"github.com/caddy-rr/caddy-rr/internal/host"
)

func init() { caddy.RegisterModule(new(MTLS)) }

// MTLS accepts callers by the client certificate of their TLS connection with Caddy, by
// a name in it or by its fingerprint; never by a header. Caddy has to ask for client
// certificates (client_auth in the site's tls directive).
//
// The certificate must be trusted: it leads to one of the certificates in ca; or, without
// ca, Caddy has verified it (client_auth with mode require_and_verify or
// verify_if_given), or it is one whose fingerprint is given here.
type MTLS struct {
	// The accepted URIs in the certificate (subject alternative names), such as the SPIFFE
	// ID spiffe://example.org/ns/prod/sa/api; * stands for one whole segment of the path.
	URIs []string `json:"uri,omitempty"`
	// The accepted DNS names; *.example.com stands for one label.
	DNS []string `json:"dns,omitempty"`
	// The accepted email addresses.
	Emails []string `json:"email,omitempty"`
	// The accepted certificates themselves: sha256:<hex>, the SHA-256 of their DER.
	Fingerprints []string `json:"fingerprint,omitempty"`
	// Certificates in PEM, one of which the caller's must lead to: text, or placeholders
	// {file./absolute/path}. With nothing else said, every caller with such a
	// certificate is accepted. Default: Caddy judges.
	CA []secret.String `json:"ca,omitempty"`

	names  nameMatcher
	config string
	bundle []*secret.Value
	trust  atomic.Pointer[trust]
	known  *bounded[knownCertificate, recognised]
	now    func() time.Time
}

// trust are the certificates that callers' must lead to.
type trust struct {
	pool *x509.CertPool // nil: Caddy judges
	sum  digest
}

// CaddyModule returns the Caddy module information.
func (*MTLS) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".mtls", New: func() caddy.Module { return new(MTLS) }}
}

// Provision checks the names and reads the certificates.
func (m *MTLS) Provision(ctx caddy.Context) error {
	if err := m.compile(); err != nil {
		return err
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return err
	}
	m.config, m.now = string(raw), time.Now
	m.known = newBounded[knownCertificate, recognised](maxKnownCertificates)
	for _, s := range m.CA {
		v, err := resolvePublic(ctx, s)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		m.bundle = append(m.bundle, v)
	}
	if err := m.readTrust(); err != nil {
		return fmt.Errorf("ca: %w", err)
	}
	log := ctx.Logger(m)
	for _, v := range m.bundle {
		v.OnChange(func(string) {
			if err := m.readTrust(); err != nil {
				log.Error("changed certificates (ca of mtls) cannot be used; the last good ones stay in use", zap.Error(err))
			}
		})
	}
	return nil
}

// compile checks the names.
func (m *MTLS) compile() (err error) {
	if len(m.URIs)+len(m.DNS)+len(m.Emails)+len(m.Fingerprints)+len(m.CA) == 0 {
		return errors.New("mtls needs a uri, dns, email, fingerprint or ca: otherwise any certificate would do")
	}
	m.names, err = newNameMatcher(m.URIs, m.DNS, m.Emails, m.Fingerprints)
	return err
}

// readTrust takes over the certificates as they are now.
func (m *MTLS) readTrust() error {
	t := &trust{}
	var texts []string
	for _, v := range m.bundle {
		if t.pool == nil {
			t.pool = x509.NewCertPool()
		}
		text := v.Get()
		certificates, err := oauth.ParseCertificates(text)
		if err != nil {
			return err
		}
		for _, c := range certificates {
			t.pool.AddCert(c)
		}
		texts = append(texts, text)
	}
	t.sum = sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	m.trust.Store(t)
	return nil
}

// Carriers implements Carrying: no part of the request carries the credential.
func (*MTLS) Carriers() []Carrier { return nil }

// Fingerprint implements Fingerprinting.
func (m *MTLS) Fingerprint() string {
	sum := m.trust.Load().sum
	return m.config + string(sum[:])
}

// Challenge implements Challenging. There is no registered scheme for certificates, but a
// 401 has to have a challenge (RFC 9110 section 15.5.2).
func (*MTLS) Challenge(bool) string { return `ClientCertificate realm="` + Realm + `"` }

// Verify implements Verifier.
func (m *MTLS) Verify(r *http.Request) (Identity, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return Identity{}, ErrAbsent
	}
	leaf, now := r.TLS.PeerCertificates[0], m.now()
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return Identity{}, fmt.Errorf("%w: the client certificate has expired or is not valid yet", ErrRejected)
	}
	known, err := m.recognise(r.TLS.PeerCertificates, now)
	switch {
	case err != nil:
		return Identity{}, fmt.Errorf("%w: %w", ErrRejected, err)
	case known.trusted || verifiedNow(r.TLS.VerifiedChains, now):
		return known.named, nil
	case known.pinned:
		return known.bare, nil
	}
	return Identity{}, fmt.Errorf("%w: nobody has verified the client certificate: mtls has no ca, and client_auth did not verify it", ErrRejected)
}

// recognise tells who a certificate is. Without ca it is not known then whether it is
// trusted.
func (m *MTLS) recognise(presented []*x509.Certificate, now time.Time) (recognised, error) {
	leaf, t := presented[0], m.trust.Load()
	key := knownCertificate{sha256.Sum256(leaf.Raw), t.sum}
	if known, ok := m.known.get(key); ok && now.Before(known.until) {
		return known, nil
	}
	known, err := m.names.identify(leaf, key.certificate)
	if err != nil {
		return known, err
	}
	if t.pool != nil {
		if err := verifyChain(presented, t.pool, now); err != nil {
			return known, err
		}
		known.trusted = true
	}
	known.until = now.Add(recogniseFor)
	if len(leaf.Raw) <= maxKnownSize {
		m.known.update(key, func(recognised) recognised { return known })
	}
	return known, nil
}

// UnmarshalCaddyfile sets up the verifier from Caddyfile tokens. Syntax:
//
//	accept mtls {
//		uri         <uri>...
//		dns         <name>...
//		email       <address>...
//		fingerprint sha256:<hex>...
//		ca          <certificates>...
//	}
func (m *MTLS) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the kind
	if d.NextArg() {
		return d.Errf("mtls has no argument %q; say in a block which certificates are accepted: %s", d.Val(), mtlsOptions)
	}
	for d.NextBlock(0) {
		var err error
		switch d.Val() {
		case "uri":
			err = host.MoreTexts(d, &m.URIs)
		case "dns":
			err = host.MoreTexts(d, &m.DNS)
		case "email":
			err = host.MoreTexts(d, &m.Emails)
		case "fingerprint":
			err = host.MoreTexts(d, &m.Fingerprints)
		case "ca":
			var list []string
			err = host.MoreTexts(d, &list)
			for _, s := range list {
				m.CA = append(m.CA, secret.String(s))
			}
		default:
			err = d.Errf("unrecognized option %q of mtls; there are: %s", d.Val(), mtlsOptions)
		}
		if err != nil {
			return err
		}
		if err := m.compile(); err != nil {
			return d.WrapErr(err)
		}
	}
	if err := m.compile(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

const mtlsOptions = "uri, dns, email, fingerprint, ca"

// Interface guards
var (
	_ caddy.Provisioner     = (*MTLS)(nil)
	_ caddyfile.Unmarshaler = (*MTLS)(nil)
	_ Verifier              = (*MTLS)(nil)
	_ Carrying              = (*MTLS)(nil)
	_ Challenging           = (*MTLS)(nil)
	_ Fingerprinting        = (*MTLS)(nil)
)
