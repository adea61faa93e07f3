package dpop

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// Request is the request that a proof has to be for, as the client sent it.
type Request struct {
	// Method is compared byte for byte.
	Method string
	// Scheme is the one that the client used: http or https. Behind a balancer that ends
	// TLS it is not the connection's, but what a trusted proxy says in X-Forwarded-Proto.
	Scheme string
	// Host is that of the URL, with the port if there is one: the Host header (the
	// :authority), or what a trusted proxy says in X-Forwarded-Host.
	Host string
	// Path is the one on the request line, before any rewriting and still encoded. A
	// query is ignored.
	Path string

	// AccessToken is the token that came with the proof, without its scheme.
	AccessToken string
	// Bound is the thumbprint of the key that the token is bound to, its cnf.jkt (RFC
	// 9449 section 6.1). A token that is bound to no key has no use for a proof, so empty
	// is refused.
	Bound string
	// Owner is whom the use of the replay store is counted to, best the token's issuer and
	// subject. Default: the key. Whoever is given tokens for many keys would be many.
	Owner string
}

// RequestOf fills in what r says of itself. r has to be as it was received: Caddy keeps
// that one for handlers that come after a rewrite. scheme is the client's, see Request.
func RequestOf(r *http.Request, scheme string) Request {
	path := r.RequestURI
	if !strings.HasPrefix(path, "/") { // the absolute form (RFC 9112 section 3.2.2)
		path = r.URL.EscapedPath()
	}
	return Request{Method: r.Method, Scheme: scheme, Host: r.Host, Path: path}
}

// Proof is what an accepted proof says.
type Proof struct {
	// Thumbprint is that of the client's key, in the form of cnf.jkt.
	Thumbprint string
	// Alg is what the proof was signed with.
	Alg string
	// IssuedAt is when the client made the proof, by its clock.
	IssuedAt time.Time
	// RenewNonce is that the proof's nonce is about to end: the answer should bring the
	// new one in DPoP-Nonce (RFC 9449 section 8.2).
	RenewNonce bool
}

// Check accepts a proof for a request and remembers that it was used. The checks are
// those of RFC 9449 section 4.3, in its order; that there is one header DPoP and no more
// is for the caller to see. Only a proof without any other fault is remembered, so a bad
// one never uses up a good one's jti.
//
// Errors: ErrProof, ErrReplay and ErrUseNonce are the client's; anything else is
// technical (ErrReplayFull, or what a shared store fails with), and not known to be the
// client's fault.
func (c *Checker) Check(proof string, r Request) (Proof, error) {
	if len(proof) > MaxProof {
		return Proof{}, bad(fmt.Sprintf("it is larger than %d bytes", MaxProof))
	}
	token, err := jose.Parse(proof)
	if err != nil {
		return Proof{}, fmt.Errorf("%w: %w", ErrProof, err)
	}
	said, err := readClaims(token.Claims)
	if err != nil {
		return Proof{}, err
	}
	key, err := c.signer(token)
	if err != nil {
		return Proof{}, err
	}
	if said.htm != r.Method {
		return Proof{}, bad("htm is not the request's method")
	}
	if !sameURL(said.htu, r) {
		return Proof{}, bad("htu is not the request's URL")
	}
	now := c.now()
	renew, err := c.checkNonce(said, now)
	if err != nil {
		return Proof{}, err
	}
	if now.Sub(said.iat) > c.maxAge {
		return Proof{}, bad("it is too old")
	}
	if said.iat.Sub(now) > c.leeway {
		return Proof{}, bad("iat is in the future")
	}
	if err := checkBinding(said, key, r); err != nil {
		return Proof{}, err
	}
	if err := c.use(said, key, r.Owner); err != nil {
		return Proof{}, err
	}
	return Proof{Thumbprint: key.ThumbprintText(), Alg: token.Header.Alg, IssuedAt: said.iat, RenewNonce: renew}, nil
}

// signer returns the key that the proof brings, once it is known to have signed it.
func (c *Checker) signer(token *jose.Token) (*jose.Key, error) {
	if token.Header.Typ != "dpop+jwt" {
		return nil, bad("typ is not dpop+jwt")
	}
	if token.Header.JWK == nil {
		return nil, bad("jwk is missing")
	}
	key, err := jose.ParseJWK(token.Header.JWK)
	if err != nil { // whose text could quote the proof
		return nil, bad("jwk is not a public key for signatures")
	}
	if err := token.VerifySignature(key, c.algs); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return key, nil
}

// checkNonce reports whether the nonce is about to end.
func (c *Checker) checkNonce(said claims, now time.Time) (renew bool, err error) {
	if c.nonces == nil {
		return false, nil
	}
	valid, renew := c.nonces.check(said.nonce, now)
	if !valid {
		return false, ErrUseNonce
	}
	return renew, nil
}

// checkBinding is step 12: the proof is for this token, and the token for this key.
func checkBinding(said claims, key *jose.Key, r Request) error {
	if r.AccessToken == "" {
		return bad("there is no access token with it")
	}
	sum := sha256.Sum256([]byte(r.AccessToken))
	if said.ath != base64.RawURLEncoding.EncodeToString(sum[:]) {
		return bad("ath is not the hash of the access token")
	}
	if r.Bound == "" {
		return bad("the access token is not bound to a key")
	}
	if r.Bound != key.ThumbprintText() {
		return bad("its key is not the one that the access token is bound to")
	}
	return nil
}

// use remembers that the proof was used. The same jti of another key is another proof:
// otherwise one client could use up the identifiers of the rest.
func (c *Checker) use(said claims, key *jose.Key, owner string) error {
	id := digest(string(key.Thumbprint[:]), said.jti)
	by := digest(owner)
	if owner == "" {
		by = key.Thumbprint
	}
	fresh, err := c.replay.Use(by, id, said.iat.Add(c.maxAge))
	if err != nil {
		return err
	}
	if !fresh {
		return ErrReplay
	}
	return nil
}

// digest is one for each list of texts: their lengths are part of it.
func digest(texts ...string) [sha256.Size]byte {
	var b []byte
	for _, s := range texts {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	return sha256.Sum256(b)
}

// claims are what a proof says of itself (RFC 9449 section 4.2).
type claims struct {
	jti, htm, htu, ath, nonce string
	iat                       time.Time
}

func readClaims(all map[string]any) (said claims, err error) {
	for _, member := range []struct {
		name string
		into *string
	}{{"jti", &said.jti}, {"htm", &said.htm}, {"htu", &said.htu}, {"ath", &said.ath}} {
		v, there := all[member.name]
		if !there {
			return said, bad(member.name + " is missing")
		}
		text, ok := v.(string)
		if !ok || text == "" {
			return said, bad(member.name + " is not a text, or empty")
		}
		*member.into = text
	}
	if len(said.jti) > maxID {
		return said, bad(fmt.Sprintf("jti is longer than %d bytes", maxID))
	}
	if v, there := all["nonce"]; there {
		var ok bool
		if said.nonce, ok = v.(string); !ok {
			return said, bad("nonce is not a text")
		}
	}
	v, there := all["iat"]
	if !there {
		return said, bad("iat is missing")
	}
	if said.iat, err = jose.NumericDate(v); err != nil {
		return said, bad("iat is not a time in seconds")
	}
	return said, nil
}
