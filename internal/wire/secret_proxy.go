package wire

import (
	"time"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// The types below are what credentialSecret may have, one for each kind of proxy
// credential. Keys, tokens and passwords are kept as hashes alone.

// Carrier is a place in a request where a caller's credential rides.
type Carrier struct {
	In     string `json:"in,omitempty" enum:"header,query,cookie" doc:"Where"`
	Name   string `json:"name,omitempty" maxLength:"256" doc:"The name of the header, query parameter or cookie" example:"X-Gateway-Key"`
	Prefix string `json:"prefix,omitempty" maxLength:"256" doc:"What stands before the credential, in a header" example:"Token"`
}

// CarrierFields say one place where a credential rides, in the short form.
type CarrierFields struct {
	From   []Carrier `json:"from,omitempty" rr:"open" maxItems:"8" alt:"from=1" doc:"Where callers put it"`
	Header string    `json:"header,omitempty" key:"place.header" maxLength:"256" alt:"from=2" doc:"Short for one place in from: a header" example:"X-Gateway-Key"`
	Prefix string    `json:"prefix,omitempty" key:"place.prefix" maxLength:"256" alt:"from=2" doc:"What stands before it in the header" example:"Token"`
	Query  string    `json:"query,omitempty" key:"place.query" maxLength:"256" alt:"from=3" doc:"Short for one place in from: a query parameter"`
	Cookie string    `json:"cookie,omitempty" key:"place.cookie" maxLength:"256" alt:"from=4" doc:"Short for one place in from: a cookie"`
}

// ProxyKeySecret is for key and apiKey.
type ProxyKeySecret struct {
	Key    secret.String   `json:"key,omitempty" alt:"keys=1" doc:"The key. Without any, one is made and shown once"`
	Keys   []secret.String `json:"keys,omitempty" alias:"secrets" maxItems:"16" alt:"keys=2" doc:"Several keys"`
	Hashes []string        `json:"hashes,omitempty" alias:"hash" maxItems:"16" alt:"keys=3" doc:"SHA-256 hashes of keys, as caddy rr keygen prints them" example:"[\"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\"]"`
	CarrierFields
}

// ProxyBearerSecret is for bearer.
type ProxyBearerSecret struct {
	Token  secret.String `json:"token,omitempty" doc:"The token"`
	Prefix string        `json:"prefix,omitempty" rr:"open" maxLength:"256" doc:"The authentication scheme before the token. Default: Bearer" example:"Token"`
}

// ProxyBasicSecret is for basic and basicAuth.
type ProxyBasicSecret struct {
	Username string        `json:"username,omitempty" rr:"open" maxLength:"256" doc:"The user's name, without a colon" example:"reports"`
	Password secret.String `json:"password,omitempty" maxLength:"1024" doc:"The password; it is kept as an argon2id hash"`
}

// ProxyJWTSecret is for jwt on the proxy side.
type ProxyJWTSecret struct {
	Token secret.String `json:"token,omitempty" alias:"jwt" doc:"The token that is expected, compared as a whole"`
}

// JWTVerifySecret is for jwtVerify.
type JWTVerifySecret struct {
	Issuer         string        `json:"issuer,omitempty" rr:"open" address:"true" doc:"The issuer, byte for byte. Alone, its keys are discovered" example:"https://tenant.eu.auth0.com/"`
	JWKSURI        string        `json:"jwksUri,omitempty" key:"jwks_url" alias:"jwksUrl jwksURL jwksURI jwks_uri" rr:"open" address:"true" alt:"keys=1" doc:"Where the issuer publishes its keys" example:"https://tenant.eu.auth0.com/.well-known/jwks.json"`
	JWKS           Document      `json:"jwks,omitempty" alt:"keys=2" doc:"The keys themselves: a JWK Set (RFC 7517)"`
	PublicKey      secret.String `json:"publicKey,omitempty" alt:"keys=3" doc:"A public key or certificate in PEM"`
	Secret         secret.String `json:"secret,omitempty" alias:"sharedSecret shared_secret" alt:"keys=4" doc:"A secret shared with the issuer (HMAC), from 32 bytes on"`
	Audience       Texts         `json:"audience,omitempty" rr:"open" alt:"audience=1" doc:"The audiences, of which a token needs one" example:"[\"https://gateway.example.com\"]"`
	AnyAudience    bool          `json:"anyAudience,omitempty" rr:"open" alt:"audience=2" doc:"Accept tokens for any audience"`
	Algorithms     Texts         `json:"algorithms,omitempty" alias:"algorithm" rr:"open" doc:"The accepted algorithms" example:"[\"RS256\"]"`
	Leeway         Duration      `json:"leeway,omitempty" rr:"open" doc:"How far clocks may be apart. Default: 30s" example:"30s"`
	Typ            string        `json:"typ,omitempty" rr:"open" doc:"The kind of token" example:"at+jwt"`
	Subject        string        `json:"subject,omitempty" rr:"open" doc:"The accepted subjects: a text, or a regular expression"`
	Scope          Words         `json:"scope,omitempty" alias:"scopes" rr:"open" doc:"The scopes that a token needs, all of them"`
	Claims         []ClaimMatch  `json:"claims,omitempty" rr:"open" doc:"What other claims have to be"`
	RequiredClaims Texts         `json:"requiredClaims,omitempty" rr:"open" doc:"Claims that have to be there"`
	MaxAge         Duration      `json:"maxAge,omitempty" rr:"open" doc:"How long ago a token may have been issued" example:"1h"`
	Revoked        Revoked       `json:"revoked,omitzero" rr:"open" doc:"Tokens that are not accepted although they verify"`
	DPoP           DPoP          `json:"dpop,omitzero" rr:"open" doc:"Proof of possession (RFC 9449)"`
	CarrierFields
	RefreshMin         Duration                 `json:"refreshMin,omitempty" rr:"open" doc:"Keys are not fetched more often. Default: 1m" example:"1m"`
	RefreshMax         Duration                 `json:"refreshMax,omitempty" rr:"open" doc:"Keys are fetched at least so often. Default: 1h" example:"1h"`
	UnknownKidInterval Duration                 `json:"unknownKidInterval,omitempty" rr:"open" doc:"An unknown key has the keys fetched at most once in this time. Default: 10s" example:"10s"`
	Timeout            Duration                 `json:"timeout,omitempty" rr:"open" doc:"How long a fetch may take. Default: 5s" example:"5s"`
	MaxStale           Duration                 `json:"maxStale,omitempty" rr:"open" doc:"How long keys are used that could not be fetched again. Default: 24h" example:"24h"`
	CA                 secret.String            `json:"ca,omitempty" doc:"Certificates in PEM that the issuer's may come from"`
	RequestHeaders     map[string]secret.String `json:"requestHeaders,omitempty" maxItems:"32" doc:"Headers to send along when keys are fetched"`
}

// ClaimMatch is what a claim has to be.
type ClaimMatch struct {
	Path  string `json:"path" alias:"claim name" maxLength:"256" doc:"The claim's name, nested ones by dots" example:"tenant.id"`
	Value string `json:"value" alias:"pattern" doc:"A text, or a regular expression" example:"^t[0-9]+$"`
}

// Revoked are tokens that are not accepted although they verify.
type Revoked struct {
	TokenIDs Texts            `json:"jti,omitempty" doc:"Tokens by their id"`
	Subjects []RevokedSubject `json:"sub,omitempty" doc:"Tokens of subjects"`
	Issuers  Texts            `json:"iss,omitempty" doc:"All tokens of issuers"`
}

// RevokedSubject are the tokens of one subject.
type RevokedSubject struct {
	Subject string    `json:"subject" doc:"The subject"`
	Before  time.Time `json:"before,omitzero" doc:"Only tokens issued before this time"`
}

// DPoP is how callers prove that they hold a token's key.
type DPoP struct {
	Required   bool     `json:"required,omitempty" doc:"Accept only tokens that are bound to a key"`
	Nonce      bool     `json:"nonce,omitempty" doc:"Demand a nonce of the gateway in each proof"`
	Algorithms Texts    `json:"algorithms,omitempty" doc:"The accepted algorithms of proofs. Default: ES256, EdDSA"`
	MaxAge     Duration `json:"maxAge,omitempty" doc:"How old a proof may be. Default: 1m" example:"1m"`
}

// ClientFields are how the gateway proves itself to an OAuth endpoint.
type ClientFields struct {
	ClientID          string        `json:"clientId,omitempty" rr:"open" doc:"The client_id" example:"gateway"`
	ClientSecret      secret.String `json:"clientSecret,omitempty" doc:"The client secret"`
	ClientAuth        string        `json:"clientAuth,omitempty" rr:"open" enum:"basic,post,private_key_jwt,client_secret_jwt,mtls,none" doc:"How the gateway authenticates. Default: basic"`
	PrivateKey        secret.String `json:"privateKey,omitempty" doc:"The private key of private_key_jwt: PEM or a JWK"`
	Algorithm         string        `json:"algorithm,omitempty" rr:"open" maxLength:"32" doc:"The algorithm of assertions" example:"RS256"`
	KeyID             string        `json:"keyId,omitempty" key:"kid" rr:"open" maxLength:"256" doc:"The kid in the header of assertions"`
	AssertionAudience string        `json:"assertionAudience,omitempty" rr:"open" doc:"The aud of assertions. Default: the endpoint"`
	Certificate       secret.String `json:"certificate,omitempty" doc:"The client certificate, in PEM"`
	Key               secret.String `json:"key,omitempty" doc:"The private key of the client certificate, in PEM"`
	CA                secret.String `json:"ca,omitempty" doc:"Certificates in PEM that the endpoint's may come from"`
}

// IntrospectSecret is for introspect.
type IntrospectSecret struct {
	URL string `json:"url,omitempty" alias:"introspectionUrl introspectionEndpoint" rr:"open" address:"true" doc:"The introspection endpoint (RFC 7662)" example:"https://login.example.com/oauth2/introspect"`
	ClientFields
	TokenTypeHint string   `json:"tokenTypeHint,omitempty" rr:"open" maxLength:"256" doc:"What the endpoint is told about tokens"`
	Issuer        string   `json:"issuer,omitempty" rr:"open" doc:"The iss that the answer must have"`
	Audience      Texts    `json:"audience,omitempty" rr:"open" alt:"audience=1" doc:"The answer's aud must have one of these"`
	AnyAudience   bool     `json:"anyAudience,omitempty" rr:"open" alt:"audience=2" doc:"Says out loud that aud is not looked at"`
	Scope         Words    `json:"scope,omitempty" alias:"scopes" rr:"open" doc:"The scopes that a token needs, all of them"`
	Cache         Duration `json:"cache,omitempty" rr:"open" doc:"For how long an active token is not asked about again" example:"30s"`
	Timeout       Duration `json:"timeout,omitempty" rr:"open" doc:"How long a caller waits for the endpoint. Default: 5s" example:"5s"`
	CarrierFields
}

// MTLSSecret is for mtls.
type MTLSSecret struct {
	URIs         Texts           `json:"uri,omitempty" alias:"uris" rr:"open" doc:"The accepted URIs in the certificate" example:"[\"spiffe://example.org/ns/prod/sa/api\"]"`
	DNS          Texts           `json:"dns,omitempty" rr:"open" doc:"The accepted DNS names"`
	Emails       Texts           `json:"email,omitempty" alias:"emails" rr:"open" doc:"The accepted email addresses"`
	Fingerprints Texts           `json:"fingerprint,omitempty" alias:"fingerprints" rr:"open" doc:"The accepted certificates themselves: sha256:…"`
	CA           []secret.String `json:"ca,omitempty" maxItems:"16" doc:"Certificates in PEM, one of which the caller's must lead to"`
}

// NoSecret is for none.
type NoSecret struct{}
