// Package oauth is a client of OAuth endpoints: it proves to a token or introspection
// endpoint which client is asking, in every way of RFC 6749, RFC 7523 and RFC 8705, and
// posts forms there.
package oauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
)

// The ways in which a client authenticates, by their names in RFC 8414 without
// "client_secret_" where there is no other.
const (
	Basic           = "basic"             // id and secret in the Authorization header
	Post            = "post"              // id and secret in the form
	PrivateKeyJWT   = "private_key_jwt"   // an assertion signed with a private key (RFC 7523)
	ClientSecretJWT = "client_secret_jwt" // an assertion signed with the secret
	MTLS            = "mtls"              // the TLS client certificate (RFC 8705)
	None            = "none"              // the id alone, if there is one
)

// Methods are all ways.
var Methods = []string{Basic, Post, PrivateKeyJWT, ClientSecretJWT, MTLS, None}

// CheckMethod refuses what is not one of Methods.
func CheckMethod(method string) error {
	if slices.Contains(Methods, method) {
		return nil
	}
	return fmt.Errorf("%q is no way for a client to authenticate; there are: %s", method, strings.Join(Methods, ", "))
}

// assertionLife is how long an assertion is good for: it is made for one request.
const assertionLife = 60 * time.Second

// assertionType says in a form that client_assertion is a JWT (RFC 7523 section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// Client is who asks.
type Client struct {
	// ID is the client_id.
	ID string
	// Auth is one of Methods; empty is Basic.
	Auth string
	// Secret is for Basic, Post and ClientSecretJWT.
	Secret string
	// Signer is for PrivateKeyJWT.
	Signer *jose.Signer
	// Algorithm is for ClientSecretJWT; empty is HS256.
	Algorithm string
	// Audience is the aud of assertions; empty is the endpoint's URL.
	Audience string
	// Repeatable says that asking twice does no harm: then the request is sent again if
	// an idle connection turns out to be dead.
	Repeatable bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Authorize adds the proof of who asks to a form and its header. Nothing of the secret is
// in the error.
func (c *Client) Authorize(endpoint string, form url.Values, header http.Header) error {
	switch c.Auth {
	case Basic, "":
		if c.ID == "" || c.Secret == "" {
			return errors.New("the client has no id or no secret")
		}
		// both are form-encoded first (RFC 6749 section 2.3.1), so an id may have a colon
		pair := url.QueryEscape(c.ID) + ":" + url.QueryEscape(c.Secret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case Post:
		if c.ID == "" || c.Secret == "" {
			return errors.New("the client has no id or no secret")
		}
		form.Set("client_id", c.ID)
		form.Set("client_secret", c.Secret)
	case PrivateKeyJWT, ClientSecretJWT:
		assertion, err := c.assertion(endpoint)
		if err != nil {
			return fmt.Errorf("the client's assertion: %w", err)
		}
		form.Set("client_id", c.ID) // optional, but some endpoints want it (RFC 7521 section 4.2)
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	case MTLS:
		if c.ID == "" {
			return errors.New("the client has no id")
		}
		form.Set("client_id", c.ID) // RFC 8705 section 2
	case None:
		if c.ID != "" {
			form.Set("client_id", c.ID)
		}
	default:
		return CheckMethod(c.Auth)
	}
	return nil
}

// claims are those of an assertion (RFC 7523 section 3).
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// assertion makes a token that is good for one request.
func (c *Client) assertion(endpoint string) (string, error) {
	signer := c.Signer
	if c.Auth == ClientSecretJWT {
		var err error
		if signer, err = jose.NewHMACSigner([]byte(c.Secret), c.hmac()); err != nil {
			return "", err
		}
	}
	if signer == nil || c.ID == "" {
		return "", errors.New("the client has no id or no key")
	}
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	issued := now()
	return signer.Sign(nil, claims{
		Issuer: c.ID, Subject: c.ID, Audience: cmp.Or(c.Audience, endpoint), ID: rand.Text(),
		IssuedAt: issued.Unix(), Expires: issued.Add(assertionLife).Unix(),
	})
}

// hmac is the algorithm of assertions that are signed with the secret.
func (c *Client) hmac() string { return cmp.Or(c.Algorithm, "HS256") }

// Post sends a form to an endpoint and returns the answer, whatever its status; a redirect
// and an answer over maxBytes are errors. The form stays as it is.
func (c *Client) Post(ctx context.Context, f *fetch.Client, endpoint string, form url.Values, maxBytes int64) (*fetch.Response, error) {
	sent := make(url.Values, len(form)+3)
	for name, values := range form {
		sent[name] = slices.Clone(values)
	}
	header := http.Header{
		"Accept":       {"application/json"},
		"Content-Type": {"application/x-www-form-urlencoded"},
	}
	if c.Repeatable {
		header["Idempotency-Key"] = []string{} // tells net/http, and is not sent
	}
	if err := c.Authorize(endpoint, sent, header); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(sent.Encode()))
	if err != nil {
		return nil, errors.New("the endpoint's URL is not valid")
	}
	req.Header = header
	return f.Do(ctx, req, maxBytes)
}
