package oauth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
)

// consentLife is how long somebody may take to consent.
const consentLife = 10 * time.Minute

// Authorization is what somebody is asked to consent to (RFC 6749 section 4.1).
type Authorization struct {
	// Endpoint is the URL of the authorization endpoint, which the browser is sent to.
	Endpoint string
	ClientID string
	// RedirectURI is where the browser comes back to.
	RedirectURI string
	// Issuer is the endpoint's issuer if it is known (RFC 9207).
	Issuer string
	// IssuerSaid says that the issuer names itself when the browser comes back, as its
	// metadata promise; a return without it is then refused.
	IssuerSaid bool
	Ask        Ask
}

// Consent is a consent that somebody was asked for. This is what is kept until the
// browser is back; it is secret.
type Consent struct {
	State       string    `json:"state"`
	Verifier    string    `json:"verifier"`
	RedirectURI string    `json:"redirect_uri"`
	Issuer      string    `json:"issuer,omitempty"`
	IssuerSaid  bool      `json:"issuer_said,omitempty"`
	Expires     time.Time `json:"expires"`
}

// Format keeps the consent out of whatever prints it.
func (c *Consent) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "consent until %s", c.Expires) }

// Begin makes the URL to send a browser to, and what to keep until it is back.
func (a *Authorization) Begin(now time.Time) (where string, c *Consent, err error) {
	u, err := fetch.CheckURL(a.Endpoint)
	if err != nil {
		return "", nil, fmt.Errorf("the authorization endpoint: %w", err)
	}
	if a.ClientID == "" || a.RedirectURI == "" {
		return "", nil, errors.New("consent needs a client_id and a redirect URI")
	}
	c = &Consent{
		State: random(), Verifier: random(), RedirectURI: a.RedirectURI,
		Issuer: a.Issuer, IssuerSaid: a.IssuerSaid, Expires: now.Add(consentLife),
	}
	query := u.Query() // some endpoints have one of their own (RFC 6749 section 3.1)
	a.Ask.addTo(query)
	for name, value := range map[string]string{
		"response_type": "code", "client_id": a.ClientID, "redirect_uri": a.RedirectURI, "state": c.State,
		"code_challenge": challenge(c.Verifier), "code_challenge_method": "S256",
	} {
		query.Set(name, value)
	}
	u.RawQuery = query.Encode()
	return u.String(), c, nil
}

// random is 256 bits as a state and a verifier are written (RFC 7636 section 4.1).
func random() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// challenge is S256 of RFC 7636 section 4.2.
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Accept returns the code that the browser has brought back in its query. The error says
// why there is none; it quotes an error code at most.
func (c *Consent) Accept(query url.Values, now time.Time) (code string, err error) {
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(query[name]) > 1 { // RFC 6749 section 3.1
			return "", fmt.Errorf("the return has %s twice", name)
		}
	}
	issuer := query.Get("iss")
	switch {
	case c.State == "" || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(c.State)) != 1:
		return "", errors.New("the return has another state: it belongs to another request")
	case now.After(c.Expires):
		return "", errors.New("the consent took too long; ask again")
	case issuer == "" && c.IssuerSaid, issuer != "" && c.Issuer != "" && issuer != c.Issuer:
		return "", errors.New("the return is from another issuer (RFC 9207)")
	case query.Has("error"):
		return "", fmt.Errorf("there is no consent: %s", reason(query))
	case query.Get("code") == "":
		return "", errors.New("the return has no code")
	}
	return query.Get("code"), nil
}

func reason(query url.Values) string {
	if text := errorOf(query); text != "" {
		return text
	}
	return "the endpoint says no"
}
