package wire

import (
	"encoding/json"
	"slices"

	"golang.org/x/net/http/httpguts"
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
