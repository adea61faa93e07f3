package oauth

import (
	"errors"
	"fmt"

	"github.com/caddy-rr/caddy-rr/internal/fetch"
	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/internal/strictjson"
)

// ServiceAccount is what a service account's file of Google Cloud holds: all that a
// jwt_bearer grant needs.
type ServiceAccount struct {
	Email    string
	TokenURL string
	Signer   *jose.Signer
}

// ParseServiceAccount reads such a file. Errors quote nothing secret.
func ParseServiceAccount(text string) (*ServiceAccount, error) {
	file, err := strictjson.Object([]byte(text), strictjson.Options{})
	if err != nil {
		return nil, err
	}
	member := func(name string) string { s, _ := file[name].(string); return s }
	if kind := member("type"); kind != "service_account" {
		return nil, fmt.Errorf("its type is %.40q, but only a service_account has a key of its own", kind)
	}
	a := &ServiceAccount{Email: member("client_email"), TokenURL: member("token_uri")}
	if a.Email == "" || member("private_key") == "" {
		return nil, errors.New("it has no client_email or no private_key")
	}
	if a.TokenURL == "" {
		a.TokenURL = "https://oauth2.googleapis.com/token"
	}
	if _, err := fetch.CheckURL(a.TokenURL); err != nil {
		return nil, fmt.Errorf("token_uri: %w", err)
	}
	if a.Signer, err = jose.ParseSigner([]byte(member("private_key")), "", member("private_key_id")); err != nil {
		return nil, fmt.Errorf("private_key: %w", err)
	}
	return a, nil
}
