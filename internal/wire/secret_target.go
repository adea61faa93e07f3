package wire

import "github.com/caddy-rr/caddy-rr/store/secret"

// The types below are what credentialSecret may have, one for each kind of target
// credential.

// Placement is where a token goes, and behind what.
type Placement struct {
	In     string `json:"in,omitempty" enum:"header,query,cookie" doc:"Where"`
	Name   string `json:"name,omitempty" maxLength:"256" doc:"The name of the header, query parameter or cookie" example:"X-Session"`
	Prefix string `json:"prefix,omitempty" maxLength:"256" doc:"What stands before the token, in a header" example:"Token"`
}

// PlacementFields say where a token goes. Default: Authorization, after Bearer.
type PlacementFields struct {
	To     Placement `json:"to,omitzero" rr:"open" alt:"to=1" doc:"Where the token goes. Default: Authorization, after Bearer"`
	Header string    `json:"header,omitempty" key:"place.header" maxLength:"256" alt:"to=2" doc:"Short for to: a header" example:"X-Session"`
	Prefix string    `json:"prefix,omitempty" key:"place.prefix" maxLength:"256" alt:"to=2" doc:"What stands before the token in the header" example:"Token"`
	Query  string    `json:"query,omitempty" key:"place.query" maxLength:"256" alt:"to=3" doc:"Short for to: a query parameter"`
	Cookie string    `json:"cookie,omitempty" key:"place.cookie" maxLength:"256" alt:"to=4" doc:"Short for to: a cookie"`
}

// TargetKeySecret is for key and apiKey.
type TargetKeySecret struct {
	Key    secret.String `json:"key,omitempty" key:"secret" doc:"The key"`
	Header string        `json:"header,omitempty" rr:"open" maxLength:"256" alt:"place=1" doc:"The header that carries the key. Default: X-API-Key" example:"X-API-Key"`
	Prefix string        `json:"prefix,omitempty" rr:"open" maxLength:"256" alt:"place=1" doc:"What stands before the key in the header" example:"Token"`
	Query  string        `json:"query,omitempty" rr:"open" maxLength:"256" alt:"place=2" doc:"The query parameter that carries the key, instead of a header"`
}

// TargetBearerSecret is for bearer.
type TargetBearerSecret struct {
	Token  secret.String `json:"token,omitempty" doc:"The token"`
	Prefix string        `json:"prefix,omitempty" rr:"open" maxLength:"256" doc:"The authentication scheme before the token. Default: Bearer" example:"Token"`
}

// TargetBasicSecret is for basic and basicAuth. The user name may well be the secret, so it
// is not shown.
type TargetBasicSecret struct {
	Username secret.String `json:"username,omitempty" doc:"The user's name, without a colon"`
	Password secret.String `json:"password,omitempty" doc:"The password"`
}

// Minting is how a token is made and signed.
type Minting struct {
	PrivateKey         secret.String `json:"privateKey,omitempty" alt:"made=2" doc:"The private key that signs: PEM or a JWK"`
	PrivateKeyPassword secret.String `json:"privateKeyPassword,omitempty" alt:"made=2" doc:"The password of an encrypted private key"`
	Secret             secret.String `json:"secret,omitempty" alt:"made=3" doc:"The shared secret that signs, instead of a private key"`
	Algorithm          string        `json:"algorithm,omitempty" rr:"open" maxLength:"32" alt:"made=2,3" doc:"The algorithm. Default: what goes with the key" example:"RS256"`
	KeyID              string        `json:"keyId,omitempty" key:"kid" rr:"open" maxLength:"256" alt:"made=2,3" doc:"The kid in the token's header"`
	TTL                Duration      `json:"ttl,omitempty" rr:"open" alt:"made=2,3" doc:"How long a token is good for, from 1s to 24h. Default: 5m" example:"5m"`
	Claims             Object        `json:"claims,omitempty" alt:"made=2,3" doc:"The claims, any JSON. Texts are taken as they are: {…} in them is no placeholder" example:"{\"iss\":\"gateway\",\"aud\":\"analytics-api\"}"`
	Omit               Texts         `json:"omit,omitempty" rr:"open" alt:"made=2,3" doc:"Claims out of iat, nbf and jti that are not filled in"`
	TokenHeader        Object        `json:"tokenHeader,omitempty" key:"header" alias:"header:object" alt:"made=2,3" doc:"More members of the token's header; an object in header is the same" example:"{\"typ\":\"at+jwt\"}"`
}

// TargetJWTSecret is for jwt on the target side: a token, or what makes one.
type TargetJWTSecret struct {
	Token secret.String `json:"token,omitempty" alias:"jwt" alt:"made=1" doc:"A token that was made elsewhere"`
	Minting
	PlacementFields
}

// OAuth2Secret is for oauth2.
type OAuth2Secret struct {
	Grant            string `json:"grant,omitempty" alias:"grantType grant_type" rr:"open" enum:"client_credentials,refresh_token,jwt_bearer,token_exchange,authorization_code" doc:"How the token is got"`
	TokenURL         string `json:"tokenUrl,omitempty" alias:"tokenURL" rr:"open" address:"true" alt:"endpoint=1" doc:"The token endpoint" example:"https://login.example.com/oauth2/token"`
	Issuer           string `json:"issuer,omitempty" rr:"open" address:"true" alt:"endpoint=2" doc:"The issuer, instead of the token endpoint"`
	AuthorizationURL string `json:"authorizationUrl,omitempty" alias:"authorizationURL authUrl" rr:"open" alt:"endpoint=1" doc:"The authorization endpoint, for authorization_code without an issuer"`
	ClientFields
	Scopes             Words                    `json:"scopes,omitempty" alias:"scope" rr:"open" doc:"The scopes to ask for" example:"[\"orders.read\"]"`
	ScopeSeparator     string                   `json:"scopeSeparator,omitempty" rr:"open" maxLength:"8" doc:"What stands between scopes. Default: a space"`
	Audience           Texts                    `json:"audience,omitempty" rr:"open" doc:"The parameter audience"`
	Resource           Texts                    `json:"resource,omitempty" rr:"open" doc:"The parameter resource (RFC 8707)"`
	Params             map[string]secret.String `json:"params,omitempty" maxItems:"32" doc:"More parameters"`
	RefreshToken       secret.String            `json:"refreshToken,omitempty" doc:"For refresh_token: the refresh token"`
	Claims             Object                   `json:"claims,omitempty" doc:"For jwt_bearer: claims of the assertion. Texts are taken as they are"`
	Credentials        Document                 `json:"credentials,omitempty" address:"true" alt:"endpoint=3" doc:"For jwt_bearer: the file of a service account of Google Cloud, as an object or as text"`
	SubjectTokenType   string                   `json:"subjectTokenType,omitempty" rr:"open" doc:"For token_exchange: the type of the caller's token"`
	RequestedTokenType string                   `json:"requestedTokenType,omitempty" rr:"open" doc:"For token_exchange: the type that is wanted"`
	ActorToken         secret.String            `json:"actorToken,omitempty" doc:"For token_exchange: a token of the one who acts for the caller"`
	ActorTokenType     string                   `json:"actorTokenType,omitempty" rr:"open" doc:"For token_exchange: its type"`
	PlacementFields
	Timeout Duration `json:"timeout,omitempty" rr:"open" doc:"How long a fetch may take. Default: 5s" example:"5s"`
}

// CustomTokenSecret is for customToken: the request that fetches a token. {secret.<name>} and
// {jwt.<name>} in its texts stand for those of secrets and jwts.
type CustomTokenSecret struct {
	URL            secret.String            `json:"url,omitempty" address:"true" doc:"Where the token is fetched" example:"https://erp.example.com/login"`
	Method         string                   `json:"method,omitempty" rr:"open" maxLength:"20" doc:"Default: POST" example:"POST"`
	RequestHeaders map[string]secret.String `json:"requestHeaders,omitempty" maxItems:"32" doc:"More headers of the request"`
	Basic          BasicParts               `json:"basic,omitzero" doc:"User and password of the request"`
	Body           secret.String            `json:"body,omitempty" doc:"The request's body" example:"{\"user\":\"svc\",\"password\":\"{secret.password}\"}"`
	Secrets        map[string]secret.String `json:"secrets,omitempty" maxItems:"32" doc:"Secrets by name"`
	JWTs           map[string]Minting       `json:"jwts,omitempty" maxItems:"8" doc:"Tokens by name that are made for the request"`
	Success        SuccessParts             `json:"success,omitzero" rr:"open" doc:"What a successful answer has"`
	Token          TokenIn                  `json:"token,omitzero" rr:"open" doc:"Where the answer has the token"`
	ExpiresIn      string                   `json:"expiresIn,omitempty" rr:"open" alt:"expires=1" doc:"JSONPath to how long the token is good for, in seconds" example:"$.expires_in"`
	ExpiresAt      string                   `json:"expiresAt,omitempty" rr:"open" alt:"expires=2" doc:"JSONPath to when the token ends"`
	TTL            Duration                 `json:"ttl,omitempty" rr:"open" doc:"How long it is good for, if the answer does not say. Default: 5m" example:"10m"`
	PlacementFields
	Timeout Duration      `json:"timeout,omitempty" rr:"open" doc:"How long a fetch may take. Default: 5s" example:"5s"`
	CA      secret.String `json:"ca,omitempty" doc:"Certificates in PEM that the endpoint's may come from"`
}

// BasicParts are the user and password of a request for a token.
type BasicParts struct {
	Username secret.String `json:"username,omitempty"`
	Password secret.String `json:"password,omitempty"`
}

// SuccessParts are what a successful answer has.
type SuccessParts struct {
	Path  string `json:"path,omitempty" doc:"JSONPath to a value that is there, neither null nor false" example:"$.ok"`
	Value string `json:"value,omitempty" doc:"What it has to be, as text"`
}

// TokenIn is where an answer has the token.
type TokenIn struct {
	Path   string `json:"path,omitempty" doc:"A JSONPath (RFC 9535)" example:"$.access_token"`
	Header string `json:"header,omitempty" maxLength:"256" doc:"A header"`
	Cookie string `json:"cookie,omitempty" maxLength:"256" doc:"A cookie"`
	Body   bool   `json:"body,omitempty" doc:"The whole body"`
}

// CustomSecret is for custom: any headers, query parameters, cookies and a path segment.
type CustomSecret struct {
	Headers map[string]secret.String `json:"headers,omitempty" key:"in.header" maxItems:"32" alt:"values=1" doc:"Headers by name"`
	Query   map[string]secret.String `json:"query,omitempty" key:"in.query" alias:"queries" maxItems:"32" alt:"values=1" doc:"Query parameters by name"`
	Cookies map[string]secret.String `json:"cookies,omitempty" key:"in.cookie" maxItems:"32" alt:"values=1" doc:"Cookies by name"`
	Path    secret.String            `json:"path,omitempty" key:"in.path" alt:"values=1" doc:"A segment before the path"`
	Values  []CustomValue            `json:"values,omitempty" maxItems:"32" alt:"values=2" doc:"All of these in one list"`
	Sends   []CustomSlot             `json:"sends,omitempty" readOnly:"true" doc:"What is sent, without the values"`
}

// CustomValue is one part of a custom credential.
type CustomValue struct {
	In    string        `json:"in" enum:"header,query,cookie,path" doc:"Where"`
	Name  string        `json:"name,omitempty" maxLength:"256" doc:"The name; a path segment has none"`
	Value secret.String `json:"value" doc:"The value"`
}

// CustomSlot is where a custom credential has a value.
type CustomSlot struct {
	In   string `json:"in" doc:"Where" example:"header"`
	Name string `json:"name,omitempty" doc:"The name" example:"X-Account"`
}

// SigV4Secret is for sigv4.
type SigV4Secret struct {
	AccessKeyID     string        `json:"accessKeyId,omitempty" alias:"accessKeyID" rr:"open" maxLength:"256" doc:"The access key's id"`
	SecretAccessKey secret.String `json:"secretAccessKey,omitempty" doc:"The secret access key"`
	SessionToken    secret.String `json:"sessionToken,omitempty" doc:"The session token of temporary credentials"`
	Region          string        `json:"region,omitempty" rr:"open" maxLength:"64" doc:"The region, as it is signed" example:"eu-central-1"`
	Service         string        `json:"service,omitempty" rr:"open" maxLength:"64" doc:"The service, as it is signed" example:"s3"`
	UnsignedPayload bool          `json:"unsignedPayload,omitempty" rr:"open" doc:"Sign without the body"`
	MaxBody         int64         `json:"maxBody,omitempty" rr:"open" maximum:"67108864" doc:"How many bytes of a body are kept in memory to sign it. Default: 1 MiB"`
}

// HTTPSignatureSecret is for http_signature.
type HTTPSignatureSecret struct {
	KeyID          string        `json:"keyId,omitempty" key:"keyid" alias:"keyID" rr:"open" maxLength:"256" doc:"The key's name (keyid)" example:"gateway-2027"`
	Algorithm      string        `json:"algorithm,omitempty" rr:"open" maxLength:"32" doc:"The algorithm. Default: what goes with the key" example:"ed25519"`
	PrivateKey     secret.String `json:"privateKey,omitempty" alt:"key=1" doc:"The private key that signs, in PEM"`
	Secret         secret.String `json:"secret,omitempty" alt:"key=2" doc:"The shared secret that signs, instead of a private key"`
	SecretEncoding string        `json:"secretEncoding,omitempty" rr:"open" enum:"base64" alt:"key=2" doc:"How the secret is written, if not as it is"`
	Components     Texts         `json:"components,omitempty" rr:"open" doc:"What is covered" example:"[\"@method\",\"@target-uri\"]"`
	Label          string        `json:"label,omitempty" rr:"open" maxLength:"64" doc:"The signature's label. Default: sig1"`
	TTL            Duration      `json:"ttl,omitempty" rr:"open" doc:"For how long a signature is good" example:"5m"`
	Nonce          bool          `json:"nonce,omitempty" rr:"open" doc:"Put a random nonce into each signature"`
	Tag            string        `json:"tag,omitempty" rr:"open" maxLength:"256" doc:"The application that the signature is for"`
	Alg            bool          `json:"alg,omitempty" rr:"open" doc:"Say the algorithm in the signature"`
	ContentDigest  string        `json:"contentDigest,omitempty" rr:"open" enum:"sha-256,sha-512" doc:"The hash of Content-Digest. Default: sha-256"`
	MaxBody        int64         `json:"maxBody,omitempty" rr:"open" maximum:"67108864" doc:"How many bytes of a body are kept in memory to compute its digest. Default: 1 MiB"`
}
