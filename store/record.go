package store

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-rr/caddy-rr/internal/rule"
)

// The buckets. A record's key is its ID unless its type says something else.
const (
	Clients     = "clients"
	Credentials = "credentials"
	Targets     = "targets"
	Proxies     = "proxies"
	Blocked     = "blocklist"
	Grants      = "grants"   // what a consent has given, by credential
	Bound       = "bound"    // where credentials without hosts were first used, by credential
	Consents    = "consents" // consents that somebody was asked for, by state
	Used        = "used"     // when credentials were last used
	Replies     = "replies"  // answers to requests with an Idempotency-Key
	Audit       = "audit"    // what was changed, by sequence number
	Meta        = "meta"     // the store's own: schema version, sealed keyset
)

// DefaultClient is the client that always exists. What the configuration declares is its.
const DefaultClient = "default"

// The sides of a credential.
const (
	ProxySide  = "proxy"  // callers prove themselves with it
	TargetSide = "target" // it is presented to upstreams
)

// Head is what all records begin with.
type Head struct {
	// ID is a UUID in its text form (RFC 9562), of version 7 for what the API makes, so
	// that the order of ids is that of creation. Of a client it is any name.
	ID string `json:"id"`
	// Client is the ID of the client that owns the record.
	Client    string    `json:"client"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// Version is the Backend's; it is not in the sealed text. 0: not stored yet.
	Version uint64 `json:"-"`
	// Declared says that the record is no record: the configuration declares it, and the
	// API cannot change it.
	Declared bool `json:"-"`
}

// Client is a tenant.
type Client struct {
	Head
	Name string `json:"name"`
}

// Credential is what callers prove themselves with, or what upstreams accept.
type Credential struct {
	Head
	Name string `json:"name"`
	// Side is ProxySide or TargetSide.
	Side string `json:"side"`
	// AuthType is the kind as the API was told it, such as apiKey or key.
	AuthType string `json:"auth_type"`
	Region   string `json:"region,omitempty"`
	// Spec is the verifier or injector, {"kind": "key", …}, as in the configuration. It is
	// secret. Proxy keys and passwords are in it as hashes only.
	Spec Secret `json:"spec"`
	// Previous are specs that are still accepted, for a time, beside Spec. Proxy side only.
	Previous []Previous `json:"previous,omitempty"`
	// Default is the default effect of its rules: allow, deny or empty.
	Default string `json:"default,omitempty"`
	Rules   []Rule `json:"rules,omitempty"`
	// Hosts is where a target credential may be sent.
	Hosts []string `json:"hosts,omitempty"`
	// Pinned is where a target credential without Hosts was first used, as scheme://host:port;
	// it goes nowhere else. It is kept in Bound, so that a use changes no version.
	Pinned []string `json:"-"`
	// ExpiresAt is when a proxy credential stops being accepted; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Temporary says that nobody has consented yet (authorization_code).
	Temporary bool `json:"temporary,omitempty"`
	// RotatedAt is when Spec was last replaced by a rotation.
	RotatedAt time.Time `json:"rotated_at,omitzero"`
}

// Previous is a spec that is accepted until a time.
type Previous struct {
	Spec  Secret    `json:"spec"`
	Until time.Time `json:"until"`
}

// Target is an upstream.
type Target struct {
	Head
	Name         string `json:"name"`
	URL          string `json:"url"`
	TestPath     string `json:"test_path,omitempty"`
	Region       string `json:"region,omitempty"`
	InsecureHTTP bool   `json:"insecure_http,omitempty"`
	Default      string `json:"default,omitempty"`
	Rules        []Rule `json:"rules,omitempty"`
}

// Proxy binds what is accepted from callers to a target and its credential.
type Proxy struct {
	Head
	Name   string `json:"name"`
	Alias  string `json:"alias,omitempty"`
	Region string `json:"region,omitempty"`
	// CredentialIDs are the proxy credentials that are accepted, at least one unless some
	// were deleted by force.
	CredentialIDs      []string `json:"credential_ids"`
	TargetID           string   `json:"target_id"`
	TargetCredentialID string   `json:"target_credential_id"`
	Inactive           bool     `json:"inactive,omitempty"`
	Default            string   `json:"default,omitempty"`
	Rules              []Rule   `json:"rules,omitempty"`
	// EncodedSlash and MaxBody are the options of the same name of a configured proxy.
	EncodedSlash string `json:"encoded_slash,omitempty"`
	MaxBody      int64  `json:"max_body,omitempty"`
}

// Rule is a rule with an identity.
type Rule struct {
	ID        string    `json:"id"`
	CreatedAt time.Time `json:"created_at"`
	// Priority sorts lists and decides nothing.
	Priority int       `json:"priority,omitempty"`
	Rule     rule.Rule `json:"rule"`
}

// ScopeOf is the scope that a default effect and rules make.
func ScopeOf(effect string, rules []Rule) rule.Scope {
	s := rule.Scope{Default: effect}
	for _, r := range rules {
		s.Rules = append(s.Rules, r.Rule)
	}
	return s
}

// Block is an entry of the blocklist: tokens that are not accepted though they verify. It
// has TokenID, or Subject, or Issuer.
type Block struct {
	Head
	TokenID string `json:"jti,omitempty"`
	// Subject's tokens that were issued before Before; all of them if that is zero.
	Subject string    `json:"sub,omitempty"`
	Before  time.Time `json:"before,omitzero"`
	Issuer  string    `json:"iss,omitempty"`
	// ExpiresAt is when the entry may be forgotten; zero: never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Note says why.
	Note string `json:"note,omitempty"`
}

// Secret is JSON that must not be shown. Only a sealed record has it in clear.
type Secret json.RawMessage

// MarshalJSON implements json.Marshaler, for the sealed text alone.
func (s Secret) MarshalJSON() ([]byte, error) { return json.RawMessage(s).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Secret) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(s).UnmarshalJSON(b) }

// Format keeps the secret out of whatever prints it.
func (Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, "REDACTED") }
