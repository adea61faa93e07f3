package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// kinds are the values of credentialAuthType, for completion.
var kinds = []string{
	"key", "bearer", "basic", "jwt", "jwtVerify", "introspect", "mtls", "oauth2", "customToken", "custom", "sigv4", "httpSignature", "none",
}

// credentialOptions are the flags that are a credential's own. What is not among them comes
// from --file.
var credentialOptions = []option{
	{flag: "type", member: "credentialType", once: true, usage: "who uses it: callers (proxy), or the gateway towards an upstream (target)", values: sides},
	{flag: "kind", member: "credentialAuthType", usage: "its kind: " + strings.Join(kinds, ", "), values: kinds},
	{flag: "expires", member: "credentialExpiresAt", form: moment, usage: "when callers are no longer accepted with it: RFC 3339, from now on as in 90d, or never"},
	{flag: "host", member: "credentialHosts", form: texts, usage: "where a target credential may be sent; repeated"},

	{flag: "username", member: "credentialSecret.username", usage: "basic: the user's name"},
	{flag: "header", member: "credentialSecret.header", usage: "the header that it is in"},
	{flag: "prefix", member: "credentialSecret.prefix", usage: "what stands before it in the header"},
	{flag: "query", member: "credentialSecret.query", usage: "the query parameter that it is in"},
	{flag: "issuer", member: "credentialSecret.issuer", usage: "jwtVerify, oauth2: the issuer, byte for byte"},
	{flag: "audience", member: "credentialSecret.audience", form: texts, usage: "jwtVerify: the audiences, of which a token needs one; oauth2: what to ask for"},
	{flag: "jwks-url", member: "credentialSecret.jwksUri", usage: "jwtVerify: where the issuer publishes its keys"},
	{flag: "algorithm", member: "credentialSecret.algorithm", usage: "jwt, jwtVerify, httpSignature: the algorithm, as in RS256"},
	{flag: "claim", member: "credentialSecret.claims", form: pairs, usage: "jwt: a claim of the tokens that are made, name=value, or name:=value for JSON; repeated"},
	{flag: "grant", member: "credentialSecret.grant", usage: "oauth2: the grant, as in client_credentials"},
	{flag: "token-url", member: "credentialSecret.tokenUrl", usage: "oauth2: the token endpoint"},
	{flag: "authorization-url", member: "credentialSecret.authorizationUrl", usage: "oauth2: the authorization endpoint, for authorization_code"},
	{flag: "client-id", member: "credentialSecret.clientId", usage: "oauth2, introspect: the client_id"},
	{flag: "scope", member: "credentialSecret.scopes", form: texts, usage: "oauth2, jwtVerify, introspect: the scopes; repeated"},
}

// place is where in credentialSecret a secret goes: a text, a key in PEM, and JSON such as a
// JWK. Empty is where a text goes.
type place struct{ text, pem, json string }

// places are those of the kinds that have one secret.
var places = map[string]place{
	"key":            {text: "key"},
	"apiKey":         {text: "key"},
	"bearer":         {text: "token"},
	"basic":          {text: "password"},
	"basicAuth":      {text: "password"},
	"jwt":            {text: "token", pem: "privateKey", json: "privateKey"},
	"jwtVerify":      {text: "secret", pem: "publicKey", json: "jwks"},
	"jwt_verify":     {text: "secret", pem: "publicKey", json: "jwks"},
	"introspect":     {text: "clientSecret", pem: "privateKey", json: "privateKey"},
	"oauth2":         {text: "clientSecret", pem: "privateKey", json: "privateKey"},
	"sigv4":          {text: "secretAccessKey"},
	"httpSignature":  {text: "secret", pem: "privateKey"},
	"http_signature": {text: "secret", pem: "privateKey"},
}

// placeOf is where a secret of a kind of credential goes.
func placeOf(kind, secret string) (string, error) {
	p, ok := places[kind]
	switch {
	case kind == "":
		return "", errors.New("say with --kind what the secret is")
	case !ok:
		return "", fmt.Errorf("a credential of the kind %s has no member that is the secret: say which with --secret-member, or put it into --file", kind)
	case strings.HasPrefix(secret, "-----BEGIN "):
		return cmp.Or(p.pem, p.text), nil
	case strings.HasPrefix(secret, "{"):
		return cmp.Or(p.json, p.text), nil
	}
	return p.text, nil
}

// addSecretFlags adds the flags that say where a credential's secret is.
func addSecretFlags(s *session, cmd *cobra.Command) {
	s.secret.addFlags(cmd, "the secret")
	cmd.Flags().StringVar(&s.secretMember, "secret-member", "", "where the secret goes in credentialSecret, as in headers.X-Token (default: by the kind)")
}

// fillSecret puts the secret into a body.
func fillSecret(s *session, cmd *cobra.Command, body record, old func() (record, error)) (bool, error) {
	if !s.secret.given() {
		if s.secretMember != "" {
			return false, errors.New("--secret-member needs --secret-file, --secret-stdin or --secret-env")
		}
		return false, nil
	}
	secret, err := s.secret.read(cmd)
	if err != nil {
		return false, err
	}
	where := s.secretMember
	if where == "" {
		kind := body.text("credentialAuthType")
		if kind == "" && old != nil {
			was, err := old()
			if err != nil {
				return false, err
			}
			kind = was.text("credentialAuthType")
		}
		if where, err = placeOf(kind, secret); err != nil {
			return false, err
		}
	}
	return true, body.set("credentialSecret."+where, secret)
}

// generated is the key that an answer shows once; empty if it shows none.
func generated(rec record) string {
	if key := rec.text("credentialSecret.key"); key != "" && rec.text(credentials.id) != "" {
		return key
	}
	return ""
}
