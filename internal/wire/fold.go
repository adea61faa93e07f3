package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// short are the members that say one place in the short form, by the value of "in".
var short = []string{"header", "query", "cookie"}

// carrier is the place that the short form says, nil if there is none. deflt is the header
// that a prefix alone is for.
func (x *secretReader) carrier(deflt string) map[string]any {
	prefix, hasPrefix := x.values["place.prefix"].(string)
	var place map[string]any
	for _, in := range short {
		if name, ok := x.values["place."+in].(string); ok && name != "" {
			place = map[string]any{"in": in, "name": name}
		}
	}
	if place == nil && hasPrefix && prefix != "" {
		place = map[string]any{"in": "header", "name": deflt}
	}
	if place != nil && place["in"] == "header" && prefix != "" {
		place["prefix"] = prefix
	}
	for _, name := range append(short, "prefix") {
		delete(x.values, "place."+name)
	}
	return place
}

// foldFrom makes from of the short form.
func foldFrom(x *secretReader) {
	if place := x.carrier("Authorization"); place != nil {
		x.values["from"] = []any{place}
	}
	list, _ := x.values["from"].([]any)
	for i, c := range list {
		x.checkPlace(c.(map[string]any), pointer(x.place("from", "from"), i))
	}
	if list != nil && len(list) == 0 {
		x.values["from"] = nil // the default
	}
}

// foldTo makes to of the short form.
func foldTo(x *secretReader) {
	if place := x.carrier("Authorization"); place != nil {
		x.values["to"] = place
	}
	if place, ok := x.values["to"].(map[string]any); ok {
		x.checkPlace(place, x.place("to", "to"))
	}
}

// checkPlace judges a place where a credential rides.
func (x *secretReader) checkPlace(place map[string]any, at string) {
	in, _ := place["in"].(string)
	name, _ := place["name"].(string)
	switch {
	case in == "":
		x.fault(pointer(at, "in"), "it is missing: it says where, header, query or cookie")
	case name == "":
		x.fault(pointer(at, "name"), "it is missing: it is the name of the %s", in)
	case in == "header" && !httpguts.ValidHeaderFieldName(name):
		x.fault(pointer(at, "name"), "it is not a header's name")
	case in != "header" && place["prefix"] != nil:
		x.fault(pointer(at, "prefix"), "only in a header something stands before the credential")
	}
}

// hashKey is how keys and tokens are kept.
func hashKey(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// shortKey is less than 128 random bits in base64url, the densest usual notation.
const shortKey = 22

// foldKeys makes hashes of keys, and a key if there is none.
func foldKeys(x *secretReader) {
	foldFrom(x)
	keys, _ := x.values["keys"].([]any)
	if key, ok := x.values["key"].(string); ok {
		keys = append(keys, key)
	}
	hashes := x.ownHashes()
	for i, k := range keys {
		hashes = append(hashes, x.hashed(k.(string), i, len(keys)))
	}
	said := x.given("key") || x.given("keys") || x.given("hashes")
	for _, name := range []string{"key", "keys", "hashes"} {
		if x.given(name) && x.values[name] == nil && !x.bad[name] {
			x.fault(x.place(name, name), "a key cannot be taken away, only replaced; to have one made, rotate")
		}
		delete(x.values, name)
	}
	if !said && x.renew {
		hashes = append(hashes, hashKey(x.makeKey()))
	}
	if len(hashes) > 0 {
		x.values["hashes"] = hashes
	}
}

func (x *secretReader) makeKey() string {
	key, err := secret.NewKey(secret.DefaultKeyPrefix, rand.Reader)
	if err != nil { // only with another prefix, or without random numbers
		panic(err)
	}
	x.made.Key = key
	return key
}

// hashed is the hash of one of n keys.
func (x *secretReader) hashed(key string, i, n int) string {
	at := x.place("key", "key")
	if !x.given("key") || i < n-1 {
		at = pointer(x.place("keys", "keys"), i)
	}
	switch {
	case strings.TrimSpace(key) != key || key == "":
		x.fault(at, "it is empty, or has a space before or behind it")
	case strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c == 0x7f }):
		x.fault(at, "it has a control character, which a header cannot carry")
	case len(key) < shortKey:
		x.made.Warnings = append(x.made.Warnings, fmt.Sprintf("the key has %d characters, and can be guessed more easily than one of 128 random bits, which has %d; leave it out to have one made", len(key), shortKey))
	}
	return hashKey(key)
}

// ownHashes are hashes that are said.
func (x *secretReader) ownHashes() []any {
	list, _ := x.values["hashes"].([]any)
	hashes := make([]any, 0, len(list))
	for i, h := range list {
		digits, ok := strings.CutPrefix(h.(string), "sha256:")
		if b, err := hex.DecodeString(digits); !ok || err != nil || len(b) != sha256.Size {
			x.fault(pointer(x.place("hashes", "hashes"), i), "it has to be sha256: and 64 hexadecimal digits, as `caddy rr keygen` prints it")
			x.bad["hashes"] = true
			continue
		}
		hashes = append(hashes, strings.ToLower(h.(string)))
	}
	return hashes
}

func needsKey(x *secretReader) {
	list, _ := x.spec["hashes"].([]any)
	if len(list) == 0 && !x.bad["hashes"] && !x.bad["key"] && !x.bad["keys"] {
		x.fault(x.place("hashes", "key"), "there is no key")
	}
	if len(list) > MaxKeys {
		x.fault(x.at, "it has %d keys, at most %d are taken", len(list), MaxKeys)
	}
}

// foldToken makes a hash of a token.
func foldToken(x *secretReader) {
	token, ok := x.values["token"].(string)
	delete(x.values, "token")
	if !ok {
		return
	}
	if strings.TrimSpace(token) != token || token == "" {
		x.fault(x.place("token", "token"), "it is empty, or has a space before or behind it")
	}
	x.values["hashes"] = []any{hashKey(token)}
}

func needsToken(x *secretReader) {
	if x.spec["hashes"] == nil && !x.bad["token"] || x.given("token") && x.values["hashes"] == nil && !x.bad["token"] {
		x.fault(x.place("token", "token"), "token is missing: %s needs it", x.kind.types[0])
	}
}

// foldPassword makes a hash of a password.
func foldPassword(x *secretReader) {
	if name, _ := x.values["username"].(string); strings.Contains(name, ":") {
		x.fault(x.place("username", "username"), "it may not have a colon in it (RFC 7617 section 2)")
	}
	if password, _ := x.values["password"].(string); password != "" {
		x.values["password"] = hashPassword(password)
	}
}

// foldCustom makes one list of values. Those of places that are not said stay.
func foldCustom(x *secretReader) {
	places := map[string]string{"header": "headers", "query": "query", "cookie": "cookies", "path": "path"}
	list := []any{}
	said := false
	for _, in := range sortedKeys(places) {
		key := "in." + in
		values, _ := x.values[key].(map[string]any)
		if segment, ok := x.values[key].(string); ok {
			values = map[string]any{"": segment}
		}
		if !x.given(key) {
			list = append(list, customAt(x.old, in)...)
		}
		for _, name := range sortedKeys(values) {
			list = append(list, customValue(in, name, values[name]))
		}
		said = said || x.given(key)
		delete(x.values, key)
	}
	if said {
		x.values["values"] = list
	}
	all, _ := x.values["values"].([]any)
	for i, v := range all {
		x.checkCustom(v.(map[string]any), i)
	}
	if all != nil && len(all) == 0 {
		x.values["values"] = nil
	}
}

func customValue(in, name string, value any) map[string]any {
	v := map[string]any{"in": in, "value": value}
	if name != "" {
		v["name"] = name
	}
	return v
}

// customAt are the stored values of a place.
func customAt(spec map[string]any, in string) []any {
	list, _ := spec["values"].([]any)
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v.(map[string]any)["in"] != in })
}

func (x *secretReader) checkCustom(v map[string]any, i int) {
	at := x.at
	if x.given("values") {
		at = pointer(x.place("values", "values"), i)
	}
	in, _ := v["in"].(string)
	name, _ := v["name"].(string)
	value, _ := v["value"].(string)
	switch {
	case in == "":
		x.fault(at, "it does not say where: in is header, query, cookie or path")
	case (name == "") != (in == "path"):
		x.fault(at, "a header, query parameter or cookie has a name, a path segment has none")
	case in == "header" && !httpguts.ValidHeaderFieldName(name):
		x.fault(at, "a name is not a header's name")
	case value == "":
		x.fault(at, "a value is missing or empty")
	}
}

// checkMinting judges a target's jwt.
func checkMinting(x *secretReader) {
	if x.spec["token"] == nil && x.spec["private_key"] == nil && x.spec["secret"] == nil &&
		!x.bad["token"] && !x.bad["private_key"] && !x.bad["secret"] {
		x.fault(x.at, "it needs a token, or a privateKey or secret to make one with")
	}
	x.checkClaims(x.spec, x.place("claims", "claims"))
}

// checkClaims refuses times that are none: a text could only become one in a
// configuration, where it may be a placeholder.
func (x *secretReader) checkClaims(minting map[string]any, at string) {
	claims, _ := minting["claims"].(map[string]any)
	for _, name := range []string{"exp", "iat", "nbf"} {
		v, there := claims[name]
		n, isNumber := v.(json.Number)
		if !there {
			continue
		}
		if seconds, err := n.Float64(); !isNumber || err != nil || !(seconds > 0 && seconds < 253402300800) {
			x.fault(pointer(at, name), "it has to be a number of seconds since 1970")
		}
	}
}

// checkOAuth2 judges what the pointer of a kind's own error could not say.
func checkOAuth2(x *secretReader) {
	if x.spec["credentials"] == nil && !x.bad["credentials"] {
		x.require("grant", "grant")
		if x.spec["token_url"] == nil && x.spec["issuer"] == nil && !x.bad["token_url"] && !x.bad["issuer"] {
			x.fault(x.place("token_url", "tokenUrl"), "it is missing: the token endpoint, or else the issuer, is needed")
		}
	}
}

func checkCustomToken(x *secretReader) {
	x.require("url", "url")
	x.require("token", "token")
	jwts, _ := x.spec["jwts"].(map[string]any)
	for _, name := range sortedKeys(jwts) {
		if minting, ok := jwts[name].(map[string]any); ok {
			x.checkClaims(minting, pointer(pointer(x.place("jwts", "jwts"), name), "claims"))
		}
	}
}

func needsIssuer(x *secretReader) {
	keys := []string{"issuer", "jwks_url", "jwks", "public_key", "secret"}
	if !slices.ContainsFunc(keys, func(k string) bool { return x.spec[k] != nil || x.bad[k] }) {
		x.fault(x.at, "it needs keys: issuer (whose keys are discovered), jwksUri, jwks, publicKey or secret")
	}
	if list, _ := x.spec["audience"].([]any); len(list) == 0 && x.spec["any_audience"] != true && !x.bad["audience"] && !x.bad["any_audience"] {
		x.fault(x.place("audience", "audience"), "it is missing: without one, tokens that the issuer made for other services would be accepted; say anyAudience if that is meant")
	}
}

func needsSigningKey(x *secretReader) {
	if x.spec["private_key"] == nil && x.spec["secret"] == nil && !x.bad["private_key"] && !x.bad["secret"] {
		x.fault(x.at, "it needs a privateKey or a secret to sign with")
	}
}
