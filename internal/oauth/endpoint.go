package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// Options are what a kind decides about its endpoint.
type Options struct {
	// Policy says which addresses may be reached. The certificates in it are Settings'.
	Policy fetch.Policy
	// Repeatable says that asking twice does no harm.
	Repeatable bool
	// Report is told of secrets that have changed to what cannot be used; the last good
	// ones stay in use. The error holds nothing secret.
	Report func(option string, err error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Endpoint is an OAuth endpoint and who asks there. It is safe for concurrent use, and
// follows secrets that change while it is in use.
type Endpoint struct {
	url     string
	base    Client
	kid     string
	values  resolved
	options Options
	signer  atomic.Pointer[jose.Signer]
	print   atomic.Pointer[print]
	version atomic.Int64 // counts changes of secrets

	mu     sync.Mutex
	line   *line
	built  int64 // the version that line follows
	closed bool
}

// line is an HTTP client that is closed when it is replaced and nobody uses it any more.
type line struct {
	client  *fetch.Client
	users   int
	retired bool
}

// Open makes an endpoint of its URL and the settings. ctx expands the secrets. Nothing is
// sent. It needs its Close.
func (s *Settings) Open(ctx context.Context, endpoint string, o Options) (*Endpoint, error) {
	u, err := fetch.CheckURL(endpoint)
	if err != nil {
		return nil, err
	}
	if err := s.Check(); err != nil {
		return nil, err
	}
	e := &Endpoint{url: u.String(), kid: s.KeyID, options: o, base: Client{
		Auth: s.method(), Algorithm: s.Algorithm, Audience: s.AssertionAudience, Repeatable: o.Repeatable, Now: o.Now,
	}}
	if e.values, err = s.resolve(ctx); err != nil {
		return nil, err
	}
	if e.base.Auth == PrivateKeyJWT {
		if err := e.parseSigner(); err != nil {
			return nil, fmt.Errorf("private_key: %w", err)
		}
		e.values.privateKey.OnChange(func(string) { _ = e.parseSigner() })
	}
	if e.base.Auth == ClientSecretJWT { // a trial: the algorithm may not be for secrets
		if _, err := jose.NewHMACSigner([]byte(e.values.secret.Get()), e.base.hmac()); err != nil {
			return nil, fmt.Errorf("algorithm: %w", err)
		}
	}
	client, err := e.connect()
	if err != nil {
		return nil, err
	}
	e.line = &line{client: client}
	for _, v := range e.values.all() {
		v.OnChange(func(string) { e.version.Add(1) })
	}
	e.built = e.version.Load()
	return e, nil
}

// parseSigner takes over the private key.
func (e *Endpoint) parseSigner() error {
	signer, err := jose.ParseSigner([]byte(e.values.privateKey.Get()), e.base.Algorithm, e.kid)
	if err != nil {
		if e.signer.Load() != nil {
			e.report("private_key", err)
		}
		return err
	}
	e.signer.Store(signer)
	return nil
}

func (e *Endpoint) report(option string, err error) {
	if e.options.Report != nil {
		e.options.Report(option, err)
	}
}

// connect makes an HTTP client of the certificates as they are now.
func (e *Endpoint) connect() (*fetch.Client, error) {
	policy := e.options.Policy
	if text := e.values.ca.Get(); text != "" {
		var err error
		if policy.RootCAs, err = MoreRoots(text); err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
	}
	if text := e.values.certificate.Get(); text != "" {
		pair, err := tls.X509KeyPair([]byte(text), []byte(e.values.key.Get()))
		if err != nil { // whose text could hold parts of the key
			return nil, errors.New("certificate: it and its key cannot be read, or do not belong together")
		}
		policy.Certificate = &pair
	}
	return fetch.New(policy), nil
}

// MoreRoots are the certificates that the system trusts and those given in PEM.
func MoreRoots(text string) (*x509.CertPool, error) {
	certificates, err := ParseCertificates(text)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, c := range certificates {
		pool.AddCert(c)
	}
	return pool, nil
}

// ParseCertificates reads certificates in PEM; anything else in it is an error.
func ParseCertificates(text string) (list []*x509.Certificate, err error) {
	for data := []byte(text); ; {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("a PEM block %.40q is no certificate", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read", len(list)+1)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, errNoCertificate
	}
	return list, nil
}

// acquire returns a client for one exchange, with the certificates of now.
func (e *Endpoint) acquire() (*line, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed { // a request of a configuration that has ended
		client, err := e.connect()
		return &line{client: client, users: 1, retired: true}, err
	}
	if now := e.version.Load(); now != e.built {
		e.built = now
		// of two files that belong together one may come first; after the next change it
		// is tried again
		if client, err := e.connect(); err != nil {
			e.report("certificate, key or ca", err)
		} else {
			e.retire()
			e.line = &line{client: client}
		}
	}
	e.line.users++
	return e.line, nil
}

func (e *Endpoint) release(l *line) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.users--; l.retired && l.users == 0 {
		l.client.Close()
	}
}

func (e *Endpoint) retire() {
	e.line.retired = true
	if e.line.users == 0 {
		e.line.client.Close()
	}
}

// Close drops the connections. Exchanges under way go on, and later ones work too, each
// over a connection of its own: requests outlive the configuration that they came in with.
func (e *Endpoint) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		e.retire()
	}
}

// client is who asks, with the secrets of now.
func (e *Endpoint) client() *Client {
	c := e.base
	c.ID, c.Secret, c.Signer = e.values.id.Get(), e.values.secret.Get(), e.signer.Load()
	return &c
}

// Post sends a form and returns the answer, whatever its status; a redirect and an answer
// over maxBytes are errors.
func (e *Endpoint) Post(ctx context.Context, form url.Values, maxBytes int64) (*fetch.Response, error) {
	l, err := e.acquire()
	if err != nil {
		return nil, err
	}
	defer e.release(l)
	return e.client().Post(ctx, l.client, e.url, form, maxBytes)
}

// print is a digest of what decides the answers, and the version of the secrets in it.
type print struct {
	version int64
	sum     [sha256.Size]byte
}

// Print is a digest over everything that decides what the endpoint answers: its URL, how
// it is asked, and the secrets of now. In the key of a cache it keeps answers of different
// endpoints and clients apart.
func (e *Endpoint) Print() [sha256.Size]byte {
	version := e.version.Load()
	if p := e.print.Load(); p != nil && p.version == version {
		return p.sum
	}
	p := &print{version: version}
	h := sha256.New()
	for _, part := range append([]string{e.url, e.base.Auth, e.base.Algorithm, e.base.Audience, e.kid}, e.values.texts()...) {
		// with lengths, so that no two lists of parts are one text
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		_, _ = io.WriteString(h, part)
	}
	h.Sum(p.sum[:0])
	e.print.Store(p)
	return p.sum
}
