package oauth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-rr/caddy-rr/internal/jose"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// Settings are the options of a kind that asks an OAuth endpoint. Kinds embed it.
type Settings struct {
	// The client_id: text or a placeholder {env.NAME} or {file./absolute/path}.
	ClientID secret.Template `json:"client_id,omitempty"`
	// The client secret, for basic, post and client_secret_jwt: a placeholder.
	ClientSecret secret.String `json:"client_secret,omitempty"`
	// How the gateway authenticates at the endpoint: basic, post, private_key_jwt,
	// client_secret_jwt, mtls or none. Default: basic.
	ClientAuth string `json:"client_auth,omitempty"`
	// The private key of private_key_jwt: a placeholder for PEM or a JWK.
	PrivateKey secret.String `json:"private_key,omitempty"`
	// The algorithm of assertions. Default: what goes with the private key (RS256 for
	// RSA), or HS256 for client_secret_jwt.
	Algorithm string `json:"algorithm,omitempty"`
	// The kid in the header of assertions. Default: that of a JWK, else none.
	KeyID string `json:"kid,omitempty"`
	// The aud of assertions. Default: the endpoint's URL.
	AssertionAudience string `json:"assertion_audience,omitempty"`
	// The client certificate and the intermediates below it, in PEM: a placeholder.
	Certificate secret.String `json:"certificate,omitempty"`
	// The private key of the client certificate, in PEM: a placeholder.
	Key secret.String `json:"key,omitempty"`
	// Certificates, in PEM, that the endpoint's may come from, besides those that the
	// system trusts: a placeholder.
	CA secret.String `json:"ca,omitempty"`
}

// OptionNames are the options that Option knows.
var OptionNames = []string{
	"client_id", "client_secret", "client_auth", "private_key", "algorithm", "kid",
	"assertion_audience", "certificate", "key", "ca",
}

// Option sets an option by its name in a Caddyfile. known is false if it is none of
// Settings'.
func (s *Settings) Option(name string, args []string) (known bool, err error) {
	fields := map[string]any{
		"client_id": &s.ClientID, "client_secret": &s.ClientSecret, "client_auth": &s.ClientAuth,
		"private_key": &s.PrivateKey, "algorithm": &s.Algorithm, "kid": &s.KeyID,
		"assertion_audience": &s.AssertionAudience, "certificate": &s.Certificate, "key": &s.Key, "ca": &s.CA,
	}
	field, known := fields[name]
	if !known {
		return false, nil
	}
	switch {
	case len(args) != 1:
		return true, fmt.Errorf("%s needs exactly one value; there are %d", name, len(args))
	case args[0] == "":
		return true, fmt.Errorf("%s is empty; give it a value, or leave the line out", name)
	}
	twice := false
	switch p := field.(type) {
	case *string:
		twice, *p = *p != "", args[0]
	case *secret.String:
		twice, *p = *p != "", secret.String(args[0])
	case *secret.Template:
		twice, *p = *p != "", secret.Template(args[0])
	}
	if twice {
		return true, fmt.Errorf("%s is said twice", name)
	}
	return true, s.checkWords()
}

// checkWords checks the options whose values are words of a list.
func (s *Settings) checkWords() error {
	if s.ClientAuth != "" {
		if err := CheckMethod(s.ClientAuth); err != nil {
			return fmt.Errorf("client_auth: %w", err)
		}
	}
	if s.Algorithm != "" {
		if err := jose.CheckAlgorithm(s.Algorithm); err != nil {
			return fmt.Errorf("algorithm: %w", err)
		}
	}
	return nil
}

// method is the way to authenticate.
func (s *Settings) method() string {
	if s.ClientAuth == "" {
		return Basic
	}
	return s.ClientAuth
}

// Check tells what is missing or cannot be.
func (s *Settings) Check() error {
	if err := s.checkWords(); err != nil {
		return err
	}
	method := s.method()
	needs := func(option string, said bool) error {
		if said {
			return nil
		}
		return fmt.Errorf("client_auth %s needs %s", method, option)
	}
	var missing []error
	if method != None {
		missing = append(missing, needs("client_id", s.ClientID != ""))
	}
	switch method {
	case Basic, Post, ClientSecretJWT:
		missing = append(missing, needs("client_secret", s.ClientSecret != ""))
	case PrivateKeyJWT:
		missing = append(missing, needs("private_key", s.PrivateKey != ""))
	case MTLS:
		missing = append(missing, needs("certificate and key", s.Certificate != ""))
	}
	if (s.Certificate == "") != (s.Key == "") {
		missing = append(missing, errors.New("certificate and key belong together"))
	}
	for _, err := range missing {
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckUnused refuses options that have no part in the way to authenticate, which is
// usually not the one that was meant then. It is not for kinds that use a private key in
// another way too.
func (s *Settings) CheckUnused() error {
	method := s.method()
	signed := method == PrivateKeyJWT || method == ClientSecretJWT
	for _, o := range []struct {
		name         string
		said, belong bool
	}{
		{"client_secret", s.ClientSecret != "", method == Basic || method == Post || method == ClientSecretJWT},
		{"private_key", s.PrivateKey != "", method == PrivateKeyJWT},
		{"kid", s.KeyID != "", method == PrivateKeyJWT},
		{"algorithm", s.Algorithm != "", signed},
		{"assertion_audience", s.AssertionAudience != "", signed},
	} {
		if o.said && !o.belong {
			return fmt.Errorf("%s has no part in client_auth %s", o.name, method)
		}
	}
	return nil
}

// resolved are the values of Settings; those that are not said are empty for ever.
type resolved struct {
	id, secret, privateKey, certificate, key, ca *secret.Value
}

func (v resolved) all() []*secret.Value {
	return []*secret.Value{v.id, v.secret, v.privateKey, v.certificate, v.key, v.ca}
}

// texts are the values of now.
func (v resolved) texts() []string {
	var list []string
	for _, value := range v.all() {
		list = append(list, value.Get())
	}
	return list
}

func (s *Settings) resolve(ctx context.Context) (v resolved, err error) {
	for _, o := range []struct {
		name string
		text string
		to   **secret.Value
		open bool // no secret: in clear it is no reason to warn
	}{
		{"client_id", string(s.ClientID), &v.id, true},
		{"client_secret", string(s.ClientSecret), &v.secret, false},
		{"private_key", string(s.PrivateKey), &v.privateKey, false},
		{"certificate", string(s.Certificate), &v.certificate, true},
		{"key", string(s.Key), &v.key, false},
		{"ca", string(s.CA), &v.ca, true},
	} {
		switch {
		case o.text == "" || o.open && !strings.Contains(o.text, "{"):
			*o.to = secret.Static(o.text)
		case o.name == "client_id":
			*o.to, err = secret.Template(o.text).Resolve(ctx)
		default:
			*o.to, err = secret.String(o.text).Resolve(ctx)
		}
		if err != nil {
			return v, fmt.Errorf("%s: %w", o.name, err)
		}
	}
	return v, nil
}
