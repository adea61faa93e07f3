package verify

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// Verify implements Verifier.
func (j *JWTVerify) Verify(r *http.Request) (Identity, error) {
	return withClaims(j.verify(r, &lastToken{}, always))
}

// VerifyCached implements Costly.
func (j *JWTVerify) VerifyCached(r *http.Request) (Identity, error) {
	return withClaims(j.verify(r, &lastToken{}, never))
}

// withClaims is for those who know nothing of the token behind an identity.
func withClaims(id Identity, err error) (Identity, error) {
	if id.token != nil {
		id.Claims = id.token.All()
	}
	return id, err
}

// lastToken keeps what a verifier has found out about a request's token for the next one.
type lastToken struct {
	raw   string
	token *jose.Token
	err   error
	// proven is the token whose key the caller has shown to hold, by proofs checked in
	// this way; a proof is good once
	proven    string
	provenWay digest
}

func (l *lastToken) parse(raw string) (*jose.Token, error) {
	if l.raw != raw || raw == "" {
		l.raw = raw
		l.token, l.err = jose.Parse(raw)
	}
	return l.token, l.err
}

// verify recognises the caller. adm tells whether a token may be looked at that is
// not remembered.
func (j *JWTVerify) verify(r *http.Request, last *lastToken, adm admission) (Identity, error) {
	raw, scheme, err := j.read(r)
	if err != nil {
		return Identity{}, err
	}
	if len(raw) > jose.MaxToken {
		return Identity{}, fmt.Errorf("%w: the token is larger than %d bytes", ErrRejected, jose.MaxToken)
	}
	now := j.now()
	v := j.remembered(raw, now)
	if v == nil {
		if v, err = j.checkToken(r, raw, last, now, adm); err != nil {
			return Identity{}, err
		}
	} else if err := j.checks.checkRevoked(&v.facts); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	if err := j.checkPossession(r, raw, scheme, v, last); err != nil {
		return Identity{}, err
	}
	if v.lacks {
		e := &InsufficientScope{Scope: strings.Join(j.Scope, " ")}
		if v.dpopKey != "" {
			e.Scheme = dpopScheme
		}
		return Identity{}, e
	}
	id := v.identity()
	id.Token = raw
	return id, nil
}

// read returns the token and the scheme it came with, in lower case, empty if it came
// from elsewhere.
func (j *JWTVerify) read(r *http.Request) (raw, scheme string, err error) {
	for i := range j.carriers {
		c := &j.carriers[i]
		raw, err := c.Read(r)
		if errors.Is(err, ErrAbsent) {
			continue
		}
		if c.Name == "Authorization" {
			scheme = c.Prefix
		}
		return raw, scheme, err
	}
	return "", "", ErrAbsent
}

func (j *JWTVerify) remembered(raw string, now time.Time) *verified {
	set := j.keys.set()
	if set == nil {
		return nil
	}
	return tokens.get(tokenKey(j.fingerprint, set.Generation, raw), now)
}

// checkToken verifies a token that is not remembered. What is cheap comes first: the
// issuer before anything else, the signature last.
func (j *JWTVerify) checkToken(r *http.Request, raw string, last *lastToken, now time.Time, adm admission) (*verified, error) {
	if strings.Count(raw, ".") != 2 { // an opaque token or key, for somebody else
		return nil, fmt.Errorf("%w: %w", ErrRejected, jose.ErrMalformed)
	}
	// before anything is looked at: who guesses learns nothing of the claims that are wanted
	if !adm.allowed() {
		return nil, ErrCostly
	}
	t, err := last.parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	f, err := j.checks.check(t, now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	if !slices.Contains(j.algs, t.Header.Alg) {
		return nil, fmt.Errorf("%w: the algorithm is not one of those that are accepted", ErrRejected)
	}
	key, set, err := j.checkSignature(r, t)
	if err != nil {
		return nil, err
	}
	v := &verified{payload: t.Payload, facts: f, key: key.Thumbprint, alg: t.Header.Alg, typ: t.Header.Typ}
	tokens.put(tokenKey(j.fingerprint, set.Generation, raw), v, claimsCost(raw, t.Claims))
	return v, nil
}

func (j *JWTVerify) checkSignature(r *http.Request, t *jose.Token) (*jose.Key, *jose.Set, error) {
	keys, set, err := j.keys.find(r.Context(), t.Header)
	if err != nil {
		return nil, nil, err
	}
	for _, key := range keys {
		if err = t.VerifySignature(key, j.algs); err == nil {
			return key, set, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: %w", ErrRejected, err)
}

// Stands implements Standing.
func (j *JWTVerify) Stands(id Identity) bool {
	v := id.token
	if v == nil || !j.keys.vouches(v.key) || !slices.Contains(j.algs, v.alg) || j.proofs.required && v.dpopKey == "" {
		return false
	}
	f, err := j.checks.check(&jose.Token{Claims: v.All(), Header: jose.Header{Typ: v.typ}}, j.now())
	return err == nil && !f.lacks
}
