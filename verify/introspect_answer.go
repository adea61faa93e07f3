package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/oauth"
	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// maxAnswer bounds the endpoint's answer, in bytes.
const maxAnswer = 128 << 10

// introspectLeeway is how far the endpoint's clock may be ahead of this one. What has
// expired by this one has expired.
const introspectLeeway = 30 * time.Second

// answer is what the endpoint said of a token. It is shared by requests and never changes.
type answer struct {
	identity Identity
	// refused is why the token is not accepted, whoever presents it; nil if it is.
	refused error
	// certificate is the thumbprint of the only client certificate that the token may be
	// used with (RFC 8705 section 3.1).
	certificate string
	// lacks is the scope that is needed if it is not there.
	lacks *InsufficientScope

	size int // of the answer, in bytes
}

// identify judges the answer for the request that presents the token, now.
func (a *answer) identify(r *http.Request, now time.Time) (Identity, error) {
	switch {
	case a.refused != nil:
		return Identity{}, a.refused
	case !a.identity.Expires.IsZero() && !now.Before(a.identity.Expires):
		return Identity{}, fmt.Errorf("%w: the token has expired", ErrRejected)
	case a.certificate != "" && !hasCertificate(r, a.certificate):
		return Identity{}, fmt.Errorf("%w: the token is bound to another client certificate than the request's", ErrRejected)
	case a.lacks != nil:
		return Identity{}, a.lacks
	}
	return a.identity, nil
}

// introspectError is that the endpoint could not be asked.
type introspectError struct {
	reason error
	after  time.Duration
}

// retryIntrospection is when to ask again if the endpoint does not say.
const retryIntrospection = 5 * time.Second

// Error implements error.
func (u *introspectError) Error() string { return "introspect: " + u.reason.Error() }

// Unwrap returns the reason.
func (u *introspectError) Unwrap() error { return u.reason }

// RetryAfter implements Retryable.
func (u *introspectError) RetryAfter() time.Duration {
	if u.after > 0 {
		return u.after
	}
	return retryIntrospection
}

// asker returns what asks the endpoint about a token and remembers the answer.
func (i *Introspect) asker(key digest, token string) func(context.Context) (*answer, error) {
	return func(ctx context.Context) (*answer, error) {
		a, err := i.ask(ctx, token)
		if err != nil {
			return nil, err
		}
		if life := time.Duration(i.Cache); life > 0 {
			keepAnswer(key, a, life, i.now())
		}
		return a, nil
	}
}

// ask asks the endpoint about a token (RFC 7662 section 2.1). Anything but an answer is a
// technical error.
func (i *Introspect) ask(ctx context.Context, token string) (*answer, error) {
	form := url.Values{"token": {token}}
	if i.TokenTypeHint != "" {
		form.Set("token_type_hint", i.TokenTypeHint)
	}
	res, err := i.endpoint.Post(ctx, form, maxAnswer)
	if err != nil {
		return nil, &introspectError{reason: err}
	}
	if res.Status != http.StatusOK {
		failure := oauth.FailureOf(res)
		return nil, &introspectError{reason: failure, after: failure.Wait}
	}
	members, err := oauth.Object(res)
	if err != nil {
		return nil, &introspectError{reason: err}
	}
	a := &answer{size: len(res.Body)}
	if err := i.read(a, members, i.now()); err != nil {
		return &answer{refused: fmt.Errorf("%w: %w", ErrRejected, err)}, nil
	}
	return a, nil
}

// read takes over what the answer says (RFC 7662 section 2.2). The error is why the token
// is not accepted; it names members and never holds their values.
func (i *Introspect) read(a *answer, members map[string]any, now time.Time) error {
	if active, ok := members["active"].(bool); !ok || !active {
		return errors.New("the token is not active")
	}
	claims := maps.Clone(members)
	delete(claims, "active")
	a.identity.Claims = claims
	// some servers write null for what is not there
	said := maps.Clone(claims)
	maps.DeleteFunc(said, func(_ string, v any) bool { return v == nil })
	if err := a.readTimes(said, now); err != nil {
		return err
	}
	if err := checkUse(said); err != nil {
		return err
	}
	if err := a.readBinding(said); err != nil {
		return err
	}
	if err := i.checkParties(said); err != nil {
		return err
	}
	if err := a.readName(said); err != nil {
		return err
	}
	var f facts
	if err := f.readScope(said, i.Scope); err != nil {
		return err
	}
	if f.lacks {
		a.lacks = &InsufficientScope{Scope: strings.Join(i.Scope, " ")}
	}
	a.identity.token = i.standing(claims, said, a.identity.Expires)
	return nil
}

// standing is what is needed of an answer to tell later whether the token is still
// accepted. In the place of the key that signed a JWT is what had the endpoint asked.
func (i *Introspect) standing(claims, said map[string]any, expires time.Time) *verified {
	v := &verified{key: i.config}
	v.decoded.Store(&claims)
	v.until, v.ends = expires, expires
	for name, field := range map[string]*string{"iss": &v.issuer, "sub": &v.subject, "jti": &v.tokenID} {
		if said[name] != nil { // some servers write a number
			*field = rule.Text(said[name])
		}
	}
	v.issued, _ = timeClaim(said, "iat") // which readTimes has checked
	return v
}

func (a *answer) readTimes(said map[string]any, now time.Time) (err error) {
	if a.identity.Expires, err = timeClaim(said, "exp"); err != nil {
		return err
	}
	if _, ok := said["exp"]; ok && !now.Before(a.identity.Expires) {
		return errors.New("the token has expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		t, err := timeClaim(said, name)
		if err != nil {
			return err
		}
		if t.After(now.Add(introspectLeeway)) {
			return fmt.Errorf("%s is in the future", name)
		}
	}
	return nil
}

// checkUse refuses tokens that are active, but not for this: those that need a proof with
// them, and refresh and ID tokens, which some servers explain too.
func checkUse(said map[string]any) error {
	kind, err := textClaim(said, "token_type")
	if err != nil {
		return err
	}
	switch strings.ToLower(kind) {
	case "", "bearer", "access_token":
	case "dpop":
		return errDPoP
	default:
		return errors.New("token_type is not Bearer")
	}
	for name, others := range map[string][]string{
		"token_use": {"refresh_token", "refresh", "id_token", "id"}, // Hydra
		"typ":       {"refresh", "offline", "id"},                   // Keycloak
	} {
		if use, ok := said[name].(string); ok && slices.Contains(others, strings.ToLower(use)) {
			return fmt.Errorf("%s says that it is not an access token", name)
		}
	}
	return nil
}

var errDPoP = errors.New("the token needs a DPoP proof, which introspect does not support")

// readBinding reads what the token is bound to (RFC 7800 section 3.1).
func (a *answer) readBinding(said map[string]any) error {
	var f facts
	if err := f.readConfirmation(said); err != nil {
		return err
	}
	if f.dpopKey != "" {
		return errDPoP
	}
	a.certificate = f.certificate
	return nil
}

// checkParties checks who made the token and whom it is for.
func (i *Introspect) checkParties(said map[string]any) error {
	if i.Issuer != "" && said["iss"] != i.Issuer {
		return errors.New("iss is not the issuer, byte for byte")
	}
	if len(i.Audience) == 0 {
		return nil
	}
	list, err := textList(said["aud"], "aud")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(list, func(s string) bool { return slices.Contains(i.Audience, s) }) {
		return errors.New("aud has none of the accepted audiences")
	}
	return nil
}

// readName takes over who is calling.
func (a *answer) readName(said map[string]any) error {
	for _, name := range []string{"sub", "username", "client_id"} {
		if said[name] == "" {
			continue
		}
		text, err := textClaim(said, name)
		if err != nil {
			return err
		}
		if a.identity.ID == "" {
			a.identity.ID = text
		}
	}
	return nil
}
