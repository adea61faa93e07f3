package verify

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// claimChecks is what jwt_verify demands of a token's claims, prepared.
type claimChecks struct {
	issuer      string
	audience    []string // empty: any
	leeway      time.Duration
	typ         string
	subject     *matcher
	scope       []string
	claims      []claimCheck
	required    []string
	maxAge      time.Duration
	revocations Blocklist
}

type claimCheck struct {
	path string
	*matcher
}

// facts are what is needed of a token's claims on every request.
type facts struct {
	issuer, subject, tokenID string
	issued                   time.Time
	// until is when the token ends, leeway included; ends is without
	until, ends time.Time
	// lacks is the scope that is needed and not there
	lacks bool
	// the confirmations (RFC 7800): of a client certificate and of a DPoP key
	certificate, dpopKey string
}

// check looks at a token whose signature may not have been checked yet. Errors name
// claims and never hold their values.
func (c *claimChecks) check(t *jose.Token, now time.Time) (f facts, err error) {
	if f.issuer, err = textClaim(t.Claims, "iss"); err != nil {
		return f, err
	}
	if c.issuer != "" && f.issuer != c.issuer {
		return f, errors.New("iss is not the issuer, byte for byte")
	}
	if err := c.checkTyp(t.Header.Typ); err != nil {
		return f, err
	}
	if err := c.checkTimes(t.Claims, &f, now); err != nil {
		return f, err
	}
	if err := c.checkAudience(t.Claims); err != nil {
		return f, err
	}
	if f.subject, err = textClaim(t.Claims, "sub"); err != nil {
		return f, err
	}
	if f.tokenID, err = textClaim(t.Claims, "jti"); err != nil {
		return f, err
	}
	if c.subject != nil && !c.subject.fits(f.subject) {
		return f, errors.New("sub is not one that is accepted")
	}
	if err := c.checkClaims(t.Claims); err != nil {
		return f, err
	}
	if err := f.readScope(t.Claims, c.scope); err != nil {
		return f, err
	}
	if err := f.readConfirmation(t.Claims); err != nil {
		return f, err
	}
	return f, c.checkRevoked(&f)
}

func (c *claimChecks) checkRevoked(f *facts) error {
	if c.revocations != nil && c.revocations.Revoked(f.issuer, f.subject, f.tokenID, f.issued) {
		return errors.New("the token is revoked")
	}
	return nil
}

// checkTyp refuses tokens that are for something else, such as proofs and log-outs (RFC
// 8725 section 3.11).
func (c *claimChecks) checkTyp(typ string) error {
	switch {
	case c.typ != "" && typ != c.typ:
		return fmt.Errorf("typ is not %s", c.typ)
	case c.typ == "" && strings.HasSuffix(typ, "+jwt") && typ != "at+jwt":
		return errors.New("typ says that it is not an access token; say `typ` to accept this kind")
	}
	return nil
}

func (c *claimChecks) checkTimes(claims map[string]any, f *facts, now time.Time) error {
	exp, err := timeClaim(claims, "exp")
	if err != nil {
		return err
	}
	if exp.IsZero() {
		return errors.New("exp is missing")
	}
	f.ends = exp
	if f.until = exp.Add(c.leeway); !now.Before(f.until) {
		return errors.New("the token has expired")
	}
	nbf, err := timeClaim(claims, "nbf")
	if err != nil {
		return err
	}
	if f.issued, err = timeClaim(claims, "iat"); err != nil {
		return err
	}
	if latest := now.Add(c.leeway); nbf.After(latest) || f.issued.After(latest) {
		return errors.New("nbf or iat is in the future")
	}
	if c.maxAge == 0 {
		return nil
	}
	if f.issued.IsZero() {
		return errors.New("iat is missing, which max_age needs")
	}
	if old := f.issued.Add(c.maxAge + c.leeway); old.Before(f.until) {
		f.ends = f.issued.Add(c.maxAge)
		if f.until = old; !now.Before(old) {
			return errors.New("the token is older than max_age")
		}
	}
	return nil
}

func (c *claimChecks) checkAudience(claims map[string]any) error {
	aud, ok := claims["aud"]
	list, err := textList(aud, "aud")
	if err != nil {
		return err
	}
	if ok && aud == nil {
		return errors.New("aud is null")
	}
	if len(c.audience) == 0 {
		return nil
	}
	for _, a := range list {
		if slices.Contains(c.audience, a) {
			return nil
		}
	}
	if len(list) == 0 {
		return errors.New("aud is missing")
	}
	return errors.New("aud has none of the accepted audiences")
}

func (c *claimChecks) checkClaims(claims map[string]any) error {
	for _, name := range c.required {
		if v, ok := rule.Claim(claims, name); !ok || v == nil {
			return fmt.Errorf("the claim %s is missing", name)
		}
	}
	for _, want := range c.claims {
		v, ok := rule.Claim(claims, want.path)
		if !ok || !want.fitsAny(v) {
			return fmt.Errorf("the claim %s is not as it has to be", want.path)
		}
	}
	return nil
}

// readScope collects the token's scopes: scope as RFC 9068 has it, a text with spaces, or
// a list; and scp, as Okta and Entra write it.
func (f *facts) readScope(claims map[string]any, needed []string) error {
	if len(needed) == 0 {
		return nil
	}
	var has []string
	for _, name := range []string{"scope", "scp"} {
		list, err := textList(claims[name], name)
		if err != nil {
			return err
		}
		for _, s := range list {
			has = append(has, strings.Fields(s)...)
		}
	}
	f.lacks = slices.ContainsFunc(needed, func(s string) bool { return !slices.Contains(has, s) })
	return nil
}

// readConfirmation reads what the token is bound to (RFC 7800 section 3.1). What cannot
// be confirmed is refused: a bound token is worth nothing to others.
func (f *facts) readConfirmation(claims map[string]any) error {
	cnf, ok := claims["cnf"]
	if !ok {
		return nil
	}
	object, ok := cnf.(map[string]any)
	if !ok {
		return errors.New("cnf is not an object")
	}
	var err error
	if f.certificate, err = textClaim(object, "x5t#S256"); err != nil {
		return fmt.Errorf("cnf: %w", err)
	}
	if f.dpopKey, err = textClaim(object, "jkt"); err != nil {
		return fmt.Errorf("cnf: %w", err)
	}
	if f.certificate == "" && f.dpopKey == "" {
		return errors.New("cnf binds the token in a way that is not supported")
	}
	return nil
}

// textClaim is a claim that has to be a string, and not an empty one, if it is there.
func textClaim(claims map[string]any, name string) (string, error) {
	v, ok := claims[name]
	if !ok {
		return "", nil
	}
	if s, ok := v.(string); ok && s != "" {
		return s, nil
	}
	return "", fmt.Errorf("%s is not a string", name)
}

// textList is a claim that is a string or a list of strings.
func textList(v any, name string) ([]string, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		list := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, fmt.Errorf("%s is not a list of strings", name)
			}
			list[i] = s
		}
		return list, nil
	}
	return nil, fmt.Errorf("%s is neither a string nor a list", name)
}

// timeClaim reads a NumericDate (RFC 7519 section 2): seconds, maybe with a fraction. The
// zero time means that it is not there.
func timeClaim(claims map[string]any, name string) (time.Time, error) {
	v, ok := claims[name]
	if !ok {
		return time.Time{}, nil
	}
	t, err := jose.NumericDate(v)
	if err != nil {
		return t, fmt.Errorf("%s %w", name, err)
	}
	return t, nil
}

// matcher compares text exactly, or with a regular expression.
type matcher struct {
	exact   string
	pattern *regexp.Regexp
}

// newMatcher takes a text with any of ^$*+?()[]{}|\ in it for a regular expression, which
// is searched for; anything else is compared as a whole.
func newMatcher(text string) (*matcher, error) {
	if text == "" {
		return nil, errors.New("it is empty")
	}
	if !strings.ContainsAny(text, `^$*+?()[]{}|\`) {
		return &matcher{exact: text}, nil
	}
	p, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("not a regular expression: %w", err)
	}
	return &matcher{pattern: p}, nil
}

func (m *matcher) fits(s string) bool {
	if m.pattern != nil {
		return m.pattern.MatchString(s)
	}
	return s == m.exact
}

// fitsAny reports whether a claim, or an element of a claim that is a list, fits.
func (m *matcher) fitsAny(v any) bool {
	list, ok := v.([]any)
	if !ok {
		return v != nil && m.fits(rule.Text(v))
	}
	return slices.ContainsFunc(list, func(e any) bool { return e != nil && m.fits(rule.Text(e)) })
}
