package verify

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-rr/caddy-rr/internal/host"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

func init() { caddy.RegisterModule(new(JWTVerify)) }

// JWTVerify accepts signed JSON Web Tokens (RFC 7519) of an issuer. Which keys and
// algorithms count is a matter of this configuration, never of the token. The token's
// claims become {http.auth.user.<claim>} and can be used in rules; {http.auth.user.id}
// is the claim sub.
type JWTVerify struct {
	// The issuer, compared with the claim iss byte for byte: a slash at the end matters.
	// Without jwks_url, jwks, public_key or secret its keys are discovered (OpenID Connect
	// Discovery 1.0, RFC 8414).
	Issuer string `json:"issuer,omitempty"`
	// Where the issuer's keys are published (JWKS, RFC 7517): https, or http to loopback.
	JWKSURL string `json:"jwks_url,omitempty"`
	// Another name of jwks_url.
	JWKSURI string `json:"jwksUri,omitempty"`
	// The keys themselves: a JWK Set as an object, or a text that is one or that is a
	// placeholder {file./absolute/path}.
	JWKS json.RawMessage `json:"jwks,omitempty"`
	// A public key or certificate in PEM, or a placeholder {file./absolute/path}.
	PublicKey secret.String `json:"public_key,omitempty"`
	// A secret shared with the issuer (HMAC): a placeholder {env.NAME} or
	// {file./absolute/path}, of at least 32 bytes.
	Secret secret.String `json:"secret,omitempty"`

	// The accepted audiences: the claim aud has to have one of them. Required, unless
	// any_audience.
	Audience Texts `json:"audience,omitempty"`
	// Accept tokens for any audience. Who does needs another claim that tells for whom the
	// token is: otherwise every token of the issuer opens this gateway.
	AnyAudience bool `json:"any_audience,omitempty"`
	// The accepted algorithms: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384,
	// ES512, EdDSA; with secret HS256, HS384, HS512. Default: all that go with public keys;
	// with secret HS256.
	Algorithms []string `json:"algorithms,omitempty"`
	// How far clocks may be apart. Default: 30s.
	Leeway *caddy.Duration `json:"leeway,omitempty"`
	// The kind of token, its typ, such as at+jwt (RFC 9068). Default: any but those that
	// are for something else, such as dpop+jwt.
	Typ string `json:"typ,omitempty"`
	// The accepted subjects (sub): a text, or a regular expression.
	Subject string `json:"subject,omitempty"`
	// The scopes that are needed, all of them (scope or scp). Without them the answer is
	// 403 insufficient_scope.
	Scope []string `json:"scope,omitempty"`
	// What other claims have to be.
	Claims []ClaimMatch `json:"claims,omitempty"`
	// Claims that have to be there, whatever they are.
	RequiredClaims []string `json:"required_claims,omitempty"`
	// How long ago the token may have been issued (iat). Default: any time.
	MaxAge caddy.Duration `json:"max_age,omitempty"`
	// Tokens that are not accepted although they verify.
	Revoked *Revocations `json:"revoked,omitempty"`
	// Proof of possession (RFC 9449).
	DPoP *DPoP `json:"dpop,omitempty"`
	// Where callers put the token. Default: Authorization, after Bearer or DPoP.
	From []Carrier `json:"from,omitempty"`

	KeyFetching

	checks      claimChecks
	keys        keyring
	algs        []string
	carriers    []Carrier
	proofs      *proofs
	fingerprint digest
	now         func() time.Time
}

// ClaimMatch is what a claim has to be.
type ClaimMatch struct {
	// The claim's name, or a path through nested objects, separated by dots.
	Path string `json:"path"`
	// What it is: a text, compared as a whole; or, with any of ^$*+?()[]{}|\ in it, a
	// regular expression that is searched for. Of a list, one element has to fit.
	Value string `json:"value"`
}

// Texts is a list of texts; in JSON one text may stand for itself.
type Texts []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *Texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = Texts{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// DefaultLeeway is how far clocks may be apart unless the configuration says otherwise.
const DefaultLeeway = 30 * time.Second

// CaddyModule returns the Caddy module information.
func (*JWTVerify) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: Namespace + ".jwt_verify", New: func() caddy.Module { return new(JWTVerify) }}
}

// Provision prepares the checks. It reads files that the configuration names, but neither
// the network nor the storage: keys are fetched when the configuration is in force.
func (j *JWTVerify) Provision(ctx caddy.Context) (err error) {
	if j.JWKSURI != "" {
		if j.JWKSURL != "" {
			return errors.New("jwks_url and jwksUri are the same; say one of them")
		}
		j.JWKSURL, j.JWKSURI = j.JWKSURI, ""
	}
	j.now = time.Now
	if err := j.prepareChecks(); err != nil {
		return err
	}
	j.checks.revocations = either(j.checks.revocations, host.BlocklistOf(ctx))
	if err := j.prepareAlgorithms(); err != nil {
		return err
	}
	if j.carriers = j.From; len(j.carriers) == 0 {
		j.carriers = []Carrier{{In: InHeader, Name: "Authorization", Prefix: "Bearer"}, {In: InHeader, Name: "Authorization", Prefix: dpopScheme}}
	}
	for i := range j.carriers {
		if err := j.carriers[i].Validate(); err != nil {
			return err
		}
	}
	if j.proofs, err = newProofs(j.DPoP); err != nil {
		return fmt.Errorf("dpop: %w", err)
	}
	if j.keys, err = j.material(ctx); err != nil {
		return err
	}
	if j.Issuer == "" {
		ctx.Logger(j).Warn("jwt_verify has no issuer: whoever else signs with these keys is accepted too")
	}
	return j.takeFingerprint()
}

// takeFingerprint tells this configuration from others in the memory of verified tokens.
// What is revoked is asked for on every request, and is no part of it.
func (j *JWTVerify) takeFingerprint() error {
	same := *j
	same.Revoked = nil
	b, err := json.Marshal(&same)
	j.fingerprint = sha256.Sum256(b)
	return err
}

func (j *JWTVerify) prepareChecks() (err error) {
	c := &j.checks
	*c = claimChecks{
		issuer: j.Issuer, audience: j.Audience, typ: jose.NormalTyp(j.Typ), scope: j.Scope,
		required: j.RequiredClaims, maxAge: time.Duration(j.MaxAge), leeway: DefaultLeeway,
	}
	switch {
	case len(j.Audience) == 0 && !j.AnyAudience:
		return errors.New("it needs an audience, or any_audience: without one, tokens that the issuer made for other services would be accepted")
	case strings.Contains(j.Issuer, "/.well-known/"):
		return errors.New("issuer is what stands before /.well-known/ in the address of its discovery document")
	case len(j.Audience) > 0 && j.AnyAudience:
		return errors.New("audience and any_audience contradict each other")
	case slices.Contains(j.Audience, ""), slices.Contains(j.Scope, ""), slices.Contains(j.RequiredClaims, ""):
		return errors.New("an audience, scope or required claim is empty")
	case j.MaxAge < 0:
		return errors.New("max_age is negative")
	case slices.ContainsFunc(j.Scope, func(s string) bool { return strings.ContainsAny(s, " \"\\") }):
		return errors.New("a scope has no space, quote or backslash in it; several are several words")
	}
	if j.Leeway != nil {
		if c.leeway = time.Duration(*j.Leeway); c.leeway < 0 || c.leeway > 10*time.Minute {
			return errors.New("leeway is between 0s and 10m")
		}
	}
	if j.Subject != "" {
		if c.subject, err = newMatcher(j.Subject); err != nil {
			return fmt.Errorf("subject: %w", err)
		}
	}
	for _, m := range j.Claims {
		if m.Path == "" {
			return errors.New("claim: its name is missing")
		}
		match, err := newMatcher(m.Value)
		if err != nil {
			return fmt.Errorf("claim %s: %w", m.Path, err)
		}
		c.claims = append(c.claims, claimCheck{m.Path, match})
	}
	if j.Revoked != nil {
		c.revocations, err = j.Revoked.compile()
	}
	return err
}

func (j *JWTVerify) prepareAlgorithms() error {
	family := jose.Asymmetric
	if j.Secret != "" {
		family = jose.Symmetric
	}
	if j.algs = j.Algorithms; len(j.algs) == 0 {
		if j.algs = family; j.Secret != "" {
			j.algs = []string{"HS256"}
		}
	}
	j.algs = slices.Clone(j.algs)
	for i, alg := range j.algs {
		alg = jose.NormalAlgorithm(alg)
		j.algs[i] = alg
		if err := jose.CheckAlgorithm(alg); err != nil {
			return fmt.Errorf("algorithms: %w", err)
		}
		if !slices.Contains(family, alg) {
			return fmt.Errorf("algorithms: %s does not go with these keys; a secret goes with %v, public keys with %v", alg, jose.Symmetric, jose.Asymmetric)
		}
	}
	return nil
}

// Carriers implements Carrying.
func (j *JWTVerify) Carriers() []Carrier { return j.carriers }

// Headers implements Accompanied.
func (*JWTVerify) Headers() []string { return []string{dpopHeader} }

// AuthorizationServer implements Issuing.
func (j *JWTVerify) AuthorizationServer() (issuer string, scopes []string) {
	if u, err := url.Parse(j.Issuer); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return "", nil // a name that nobody can ask
	}
	return j.Issuer, j.Scope
}

// Challenge implements Challenging (RFC 6750 section 3, RFC 9449 section 7.1).
func (j *JWTVerify) Challenge(rejected bool) string {
	if j.proofs.required {
		return j.proofs.challenge(rejected, "invalid_token")
	}
	return bearerChallenge(rejected)
}

// Interface guards
var (
	_ caddy.Provisioner  = (*JWTVerify)(nil)
	_ caddy.CleanerUpper = (*JWTVerify)(nil)
	_ Verifier           = (*JWTVerify)(nil)
	_ Carrying           = (*JWTVerify)(nil)
	_ Costly             = (*JWTVerify)(nil)
	_ Standing           = (*JWTVerify)(nil)
	_ Accompanied        = (*JWTVerify)(nil)
	_ Challenging        = (*JWTVerify)(nil)
	_ Issuing            = (*JWTVerify)(nil)
)
