package verify

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-rr/caddy-rr/internal/dpop"
)

const (
	dpopScheme = "DPoP"
	dpopHeader = "Dpop" // in canonical form
)

// DPoP is how callers prove that they hold the key a token is bound to (RFC 9449). A token
// that is bound to a key is only accepted with such a proof, whether or not anything is
// said here.
type DPoP struct {
	// Accept only tokens that are bound to a key.
	Required bool `json:"required,omitempty"`
	// Demand a nonce of the gateway in each proof.
	Nonce bool `json:"nonce,omitempty"`
	// The accepted algorithms of proofs. Default: ES256, EdDSA.
	Algorithms []string `json:"algorithms,omitempty"`
	// How old a proof may be. Default: 1m.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
}

// proofs checks what tokens are bound to.
type proofs struct {
	*dpop.Checker
	required bool
	print    digest // tells one way of checking from others
}

// maxProofs bounds the proofs that are remembered until they are too old, about 150 bytes
// each: 8,000 a second, of which one caller can have half.
const maxProofs = 500_000

// usedProofs outlives reloads: a proof that was used before one is not good again after
// it. dpopNonceKey makes nonces that are.
var (
	usedProofs   = dpop.NewReplay(maxProofs, time.Now)
	dpopNonceKey = randomBytes(32)
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // which ends the process rather than fail
	return b
}

func newProofs(d *DPoP) (*proofs, error) {
	if d == nil {
		d = new(DPoP)
	}
	c, err := dpop.New(dpop.Config{
		Algs: d.Algorithms, MaxAge: time.Duration(d.MaxAge), Nonce: d.Nonce,
		NonceKey: dpopNonceKey, Replay: usedProofs,
	})
	if err != nil {
		return nil, err
	}
	way, err := json.Marshal(d)
	return &proofs{c, d.Required, sha256.Sum256(way)}, err
}

// challenge is for WWW-Authenticate (RFC 9449 section 7.1).
func (p *proofs) challenge(rejected bool, code string) string {
	text := dpopScheme + ` realm="` + Realm + `"`
	if rejected {
		text += `, error="` + code + `"`
	}
	return text + `, algs="` + p.Algs() + `"`
}

// proofError is that a token was presented without a proof that is good for it.
type proofError struct {
	err              error
	challenge, nonce string
}

func (e *proofError) Error() string     { return e.err.Error() }
func (e *proofError) Unwrap() []error   { return []error{ErrRejected, e.err} }
func (e *proofError) Challenge() string { return e.challenge }

// ResponseHeader is the nonce to use (RFC 9449 section 8).
func (e *proofError) ResponseHeader() (name, value string) { return "DPoP-Nonce", e.nonce }

// checkPossession has the caller show that the token is theirs, if it is bound to
// anything.
func (j *JWTVerify) checkPossession(r *http.Request, raw, scheme string, v *verified, last *lastToken) error {
	if v.certificate != "" && !hasCertificate(r, v.certificate) {
		return fmt.Errorf("%w: the token is bound to a client certificate that this connection does not have", ErrRejected)
	}
	withProof := strings.EqualFold(scheme, dpopScheme)
	switch {
	case v.dpopKey == "" && withProof:
		return fmt.Errorf("%w: the token is bound to no key, so DPoP proves nothing", ErrRejected)
	case v.dpopKey == "" && j.proofs.required:
		return fmt.Errorf("%w: the token is not bound to a key (no cnf.jkt), which dpop required demands", ErrRejected)
	case v.dpopKey == "":
		return nil
	case scheme != "" && !withProof:
		// RFC 9449 section 7.1: bound tokens are no bearer tokens
		return fmt.Errorf("%w: the token is bound to a key and needs the scheme DPoP", ErrRejected)
	}
	if last.proven == raw && last.provenWay == j.proofs.print {
		return nil
	}
	lines := r.Header[dpopHeader]
	if len(lines) != 1 {
		return j.proofs.refuse(fmt.Errorf("%w: there are %d headers DPoP", dpop.ErrProof, len(lines)))
	}
	req := requestAsSent(r)
	req.AccessToken, req.Bound, req.Owner = raw, v.dpopKey, v.issuer+" "+v.subject
	_, err := j.proofs.Check(lines[0], req)
	if err == nil {
		last.proven, last.provenWay = raw, j.proofs.print
	}
	return j.proofs.refuse(err)
}

// refuse turns an error of Check into a verifier's.
func (p *proofs) refuse(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, dpop.ErrUseNonce):
		// how clients begin; it is no failure
		return &proofError{fmt.Errorf("%w%w", err, errCounted), p.challenge(true, "use_dpop_nonce"), p.Nonce()}
	case errors.Is(err, dpop.ErrProof):
		return &proofError{err, p.challenge(true, "invalid_dpop_proof"), p.Nonce()}
	}
	return err
}

// hasCertificate reports whether the connection's client certificate has the thumbprint
// (RFC 8705 section 3.1).
func hasCertificate(r *http.Request, thumbprint string) bool {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return false
	}
	sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]) == thumbprint
}

// requestAsSent is the request as the client sent it: before any rewriting here, and
// before the proxies that Caddy trusts.
func requestAsSent(r *http.Request) dpop.Request {
	orig := *r
	if o, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		orig = o
		orig.Method = r.Method
	}
	u := origin(r)
	sent := dpop.RequestOf(&orig, u.Scheme)
	sent.Host = u.Host
	return sent
}

// origin is the scheme and host that the client used, as far as can be told.
func origin(r *http.Request) url.URL {
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); trusted {
		if scheme := lastOf(r.Header["X-Forwarded-Proto"]); scheme == "https" || scheme == "http" {
			u.Scheme = scheme
		}
		if host := lastOf(r.Header["X-Forwarded-Host"]); host != "" {
			u.Host = host
		}
	}
	return u
}

// lastOf is what the nearest proxy added to a list that may be in several lines.
func lastOf(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}
