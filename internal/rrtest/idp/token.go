package idp

import (
	"crypto/rand"
	"maps"
	"slices"
	"time"
)

// What a token says if its maker does not say otherwise.
const (
	// Audience is the `aud`.
	Audience = "https://gateway.example"
	// Subject is the `sub`.
	Subject = "svc-1"
	// Lifetime is how far `exp` is ahead of `iat`.
	Lifetime = 5 * time.Minute
)

// AddKey makes a key and publishes it. The same kid may be published twice: Token signs
// with the newest.
func (p *Provider) AddKey(alg, kid string) *Key {
	p.t.Helper()
	k := NewKey(p.t, alg, kid)
	p.Publish(k)
	return k
}

// Publish puts a key into the key set.
func (p *Provider) Publish(k *Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, k)
	p.signers[k.ID] = k
}

// RemoveKey takes the keys of this name out of the key set. Token still signs with them.
func (p *Provider) RemoveKey(kid string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = slices.DeleteFunc(p.keys, func(k *Key) bool { return k.ID == kid })
}

// Rotate replaces the whole key set with one new key.
func (p *Provider) Rotate(alg, kid string) *Key {
	p.t.Helper()
	k := NewKey(p.t, alg, kid)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []*Key{k}
	p.signers[kid] = k
	return k
}

// Key is the key of this name that was published last, also when it is removed.
func (p *Provider) Key(kid string) *Key {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.signers[kid]
	if k == nil {
		p.t.Fatalf("the identity provider has no key %q", kid)
	}
	return k
}

// Token is a token signed with the key of this name. Claims and header members are put
// over those of Claims and {alg, kid, typ: JWT}; one that is nil is left out.
func (p *Provider) Token(kid string, claims, header map[string]any) string {
	p.t.Helper()
	return p.Key(kid).Token(p.Claims(claims), header)
}

// Claims are those of Token: iss, sub, aud, iat, exp and a jti of its own, and over them
// those given; one that is nil is left out.
func (p *Provider) Claims(over map[string]any) map[string]any {
	now := p.now()
	return overlay(map[string]any{
		"iss": p.issuer, "sub": Subject, "aud": Audience, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(Lifetime).Unix(),
	}, over)
}

// Token is a token with these claims alone. Header members are put over {alg, kid,
// typ: JWT}; one that is nil is left out.
func (k *Key) Token(claims, header map[string]any) string {
	own := map[string]any{"alg": k.Alg, "typ": "JWT"}
	if k.ID != "" {
		own["kid"] = k.ID
	}
	return k.Sign(mustJSON(overlay(own, header)), mustJSON(claims))
}

func overlay(base, over map[string]any) map[string]any {
	maps.Copy(base, over)
	maps.DeleteFunc(base, func(_ string, v any) bool { return v == nil })
	return base
}
