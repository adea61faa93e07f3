package inject

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Minting is how a token (JWT, RFC 7519) is made and signed here.
type Minting struct {
	// The private key that signs: a placeholder for PEM (PKCS#8, PKCS#1, SEC 1) or a JWK.
	PrivateKey secret.String `json:"private_key,omitempty"`
	// The password of a private key that is encrypted (PKCS#8): a placeholder.
	PrivateKeyPassword secret.String `json:"private_key_password,omitempty"`
	// The shared secret that signs, instead of a private key: a placeholder.
	Secret secret.String `json:"secret,omitempty"`
	// The algorithm. Default: what goes with the private key (RS256 for RSA), HS256 for a
	// secret.
	Algorithm string `json:"algorithm,omitempty"`
	// The kid in the header. Default: that of a JWK, else none.
	KeyID string `json:"kid,omitempty"`
	// How long a token is good for, at most 24h. Default: 5m.
	TTL caddy.Duration `json:"ttl,omitempty"`
	// The claims: any JSON. Texts may hold placeholders, {http.auth.user.*} for what is
	// known of the verified caller, {env.NAME} and {file./absolute/path}. One that is the
	// whole text keeps the type of the caller's claim. iat, nbf, exp and jti are filled in
	// unless they are here.
	Claims Object `json:"claims,omitempty"`
	// Claims out of iat, nbf and jti that are not filled in.
	Omit []string `json:"omit,omitempty"`
	// More members of the token's header, such as typ, which is JWT by default.
	Header Object `json:"header,omitempty"`
}

const (
	defaultTTL = 5 * time.Minute
	maxTTL     = 24 * time.Hour
	// clockSkew is how much earlier a token says that it was issued: upstreams whose clock
	// is behind refuse tokens of the future.
	clockSkew = 10 * time.Second
)

// ownHeader are members of a token's header that are not for the configuration: others
// decide them, or they say what this signer does not do.
var ownHeader = []string{"alg", "kid", "crit", "b64", "enc", "zip"}

// check tells what cannot be, without secrets.
func (m *Minting) check() error {
	switch {
	case m.PrivateKey != "" && m.Secret != "":
		return errors.New("a token is signed with a private_key or with a secret, not with both")
	case m.PrivateKey == "" && m.Secret == "":
		return errors.New("a token is signed with a private_key or a secret; there is neither")
	case m.PrivateKeyPassword != "" && m.PrivateKey == "":
		return errors.New("private_key_password is for a private_key; there is none")
	case m.TTL < 0 || time.Duration(m.TTL) > maxTTL || m.TTL > 0 && time.Duration(m.TTL) < time.Second:
		return errors.New("ttl is from 1s to 24h")
	}
	if alg := m.algorithm(); alg != "" {
		if err := jose.CheckAlgorithm(alg); err != nil {
			return fmt.Errorf("algorithm: %w", err)
		}
		if slices.Contains(jose.Symmetric, alg) != (m.Secret != "") {
			return fmt.Errorf("algorithm %s does not go with a %s", alg, m.signedWith())
		}
	}
	for _, name := range m.Omit {
		if !slices.Contains([]string{"iat", "nbf", "jti"}, name) {
			return fmt.Errorf("omit is for iat, nbf and jti, not for %q", name)
		}
	}
	for _, name := range ownHeader {
		if _, ok := m.Header[name]; ok {
			return fmt.Errorf("header %s cannot be set; alg and kid are the options algorithm and kid", name)
		}
	}
	return checkDates(m.Claims)
}

// checkConfigured is check for what only configurations can have: placeholders.
func (m *Minting) checkConfigured() error {
	if err := checkTemplate(m.Claims); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	err := eachText("", map[string]any(m.Header), func(place, text string) error {
		if placeholder.MatchString(text) {
			return fmt.Errorf("%s: a token's header holds no placeholders", place)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("header %w", err)
	}
	return nil
}

// checkDates refuses times that no reader would take for such.
func checkDates(claims Object) error {
	for _, name := range []string{"exp", "iat", "nbf"} {
		switch v := claims[name].(type) {
		case nil:
			if _, ok := claims[name]; ok {
				return fmt.Errorf("claims: %s is null", name)
			}
		case string: // with a placeholder it may become one
			if !placeholder.MatchString(v) {
				return fmt.Errorf("claims: %s is a number of seconds since 1970, not a text", name)
			}
		default:
			if _, err := numericDate(v); err != nil {
				return fmt.Errorf("claims: %s %w", name, err)
			}
		}
	}
	return nil
}

// numericDate reads seconds since 1970 (RFC 7519 section 2).
func numericDate(v any) (time.Time, error) {
	var seconds float64
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		if err != nil {
			return time.Time{}, errors.New("is not a number of seconds since 1970")
		}
		seconds = f
	case float64:
		seconds = v
	case int64:
		seconds = float64(v)
	default:
		return time.Time{}, errors.New("is not a number of seconds since 1970")
	}
	if !(seconds > 0 && seconds < 253402300800) { // the year 10000
		return time.Time{}, errors.New("is not a number of seconds since 1970")
	}
	return time.Unix(int64(math.Floor(seconds)), 0), nil
}

func (m *Minting) algorithm() string {
	if m.Algorithm == "" && m.Secret != "" {
		return "HS256"
	}
	return jose.NormalAlgorithm(m.Algorithm)
}

func (m *Minting) signedWith() string {
	if m.Secret != "" {
		return "secret"
	}
	return "private_key"
}

// resolve checks the options and adds the secrets to x, under names that begin with
// prefix.
func (m *Minting) resolve(ctx context.Context, x material, prefix string) error {
	if err := m.check(); err != nil {
		return err
	}
	for option, s := range map[string]secret.String{
		"private_key": m.PrivateKey, "private_key_password": m.PrivateKeyPassword, "secret": m.Secret,
	} {
		if s == "" {
			continue
		}
		v, err := s.Resolve(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		x[prefix+option] = v
	}
	if !expands(ctx) {
		return nil
	}
	if err := m.checkConfigured(); err != nil {
		return err
	}
	if err := templateSecrets(ctx, m.Claims, x); err != nil {
		return fmt.Errorf("claims: %w", err)
	}
	return nil
}

// minter makes tokens. It is safe for concurrent use and never changes.
type minter struct {
	signer *jose.Signer
	claims *template
	header map[string]any
	omit   []string
	ttl    time.Duration
	now    func() time.Time
}

// minter makes one with the secrets of now, which resolve has added to x. Errors hold
// nothing secret.
func (m *Minting) minter(x material, prefix string, expand bool) (*minter, error) {
	made := &minter{
		claims: newTemplate(m.Claims, x, expand), header: m.Header, omit: m.Omit,
		ttl: time.Duration(m.TTL), now: time.Now,
	}
	if made.ttl == 0 {
		made.ttl = defaultTTL
	}
	var err error
	if m.Secret != "" {
		text := x.get(prefix + "secret")
		if jose.IsPEM(text) {
			return nil, errors.New("secret: it is a key in PEM, not a shared secret; say private_key")
		}
		if made.signer, err = jose.NewHMACSigner([]byte(text), m.algorithm()); err != nil {
			return nil, fmt.Errorf("secret: %w", err)
		}
		if m.KeyID != "" {
			made.header = withMember(m.Header, "kid", m.KeyID)
		}
		return made, nil
	}
	key := unfolded(x.get(prefix + "private_key"))
	made.signer, err = jose.ParseEncryptedSigner([]byte(key), []byte(x.get(prefix+"private_key_password")), m.algorithm(), m.KeyID)
	if err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	return made, nil
}

// unfolded is PEM with its line ends: environment variables often have \n in their place.
func unfolded(key string) string {
	if jose.IsPEM(key) && !strings.Contains(key, "\n") {
		return strings.ReplaceAll(key, `\n`, "\n")
	}
	return key
}

func withMember(o Object, name string, v any) map[string]any {
	with := make(map[string]any, len(o)+1)
	for n, x := range o {
		with[n] = x
	}
	with[name] = v
	return with
}

// mint makes a token for a caller, nil if the claims depend on none. It ends at expires,
// and not later than the caller's proof if they do.
func (m *minter) mint(c *caller) (raw string, expires time.Time, err error) {
	claims, err := m.claims.fill(c)
	if err != nil {
		return "", time.Time{}, err
	}
	now := m.now()
	issued := now.Add(-clockSkew).Unix()
	for name, v := range map[string]any{"iat": issued, "nbf": issued, "jti": rand.Text()} {
		if _, said := claims[name]; !said && !slices.Contains(m.omit, name) {
			claims[name] = v
		}
	}
	expires = now.Add(m.ttl).Truncate(time.Second)
	if said, ok := claims["exp"]; ok {
		if expires, err = numericDate(said); err != nil {
			return "", time.Time{}, fmt.Errorf("claim exp %w", err)
		}
	} else {
		claims["exp"] = expires.Unix()
	}
	if end := m.until(c); !end.IsZero() && end.Before(expires) {
		expires = end
		claims["exp"] = end.Unix()
	}
	if !expires.After(now) {
		return "", time.Time{}, errors.New("the token would be over already")
	}
	for _, name := range []string{"iat", "nbf"} {
		if v, ok := claims[name]; ok {
			if _, err := numericDate(v); err != nil {
				return "", time.Time{}, fmt.Errorf("claim %s %w", name, err)
			}
		}
	}
	raw, err = m.signer.Sign(m.header, claims)
	return raw, expires, err
}

// until is when the caller's proof ends, in whole seconds, if the claims depend on it.
func (m *minter) until(c *caller) time.Time {
	if c == nil || len(m.claims.refs) == 0 || c.Expires.IsZero() {
		return time.Time{}
	}
	return c.Expires.Truncate(time.Second)
}
