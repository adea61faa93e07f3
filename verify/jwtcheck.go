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
	return j.verify(r, &lastToken{}, func() (func(bool), bool) { return func(bool) {}, true })
}

// VerifyCached implements Costly.
func (j *JWTVerify) VerifyCached(r *http.Request) (Identity, error) {
	return j.verify(r, &lastToken{}, nil)
}

// lastToken keeps the token that a verifier has taken apart for the next one.
type lastToken struct {
	raw   string
	token *jose.Token
	err   error
}

func (l *lastToken) parse(raw string) (*jose.Token, error) {
	if l.raw != raw || raw == "" {
		l.raw = raw
		l.token, l.err = jose.Parse(raw)
	}
	return l.token, l.err
}

// verify recognises the caller. begin is asked for leave before anything expensive; nil
// means that there is none.
func (j *JWTVerify) verify(r *http.Request, last *lastToken, begin func() (func(bool), bool)) (Identity, error) {
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
		if v, err = j.checkToken(r, raw, last, now, begin); err != nil {
			return Identity{}, err
		}
	} else if err := j.checks.checkRevoked(&v.facts); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	if err := j.checkPossession(r, raw, scheme, v); err != nil {
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
func (j *JWTVerify) checkToken(r *http.Request, raw string, last *lastToken, now time.Time, begin func() (func(bool), bool)) (*verified, error) {
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
	if begin == nil {
		return nil, ErrCostly
	}
	release, ok := begin()
	if !ok {
		return nil, ErrCostly
	}
	key, set, err := j.checkSignature(r, t)
	release(errors.Is(err, ErrRejected))
	if errors.Is(err, ErrRejected) {
		return nil, fmt.Errorf("%w%w", err, errCounted)
	}
	if err != nil {
		return nil, err
	}
	v := &verified{claims: t.Claims, facts: f, key: key.Thumbprint}
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
	if v == nil || !j.keys.vouches(v.key) {
		return false
	}
	// the header is of the time when it was verified; its typ does not change
	_, err := j.checks.check(&jose.Token{Claims: v.claims, Header: jose.Header{Typ: j.checks.typ}}, j.now())
	return err == nil
}
