package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// credentialKind is what stands in a kind's place to refer to a named credential:
// {"kind": "credential", "name": "…"}.
const credentialKind = "credential"

// Split returns the object's kind and the object without it. One object,
// {"kind": "key", …}, is the form of a kind in the Caddyfile's adapted JSON, in the JSON
// configuration, in API bodies and in sealed records.
func Split(raw json.RawMessage) (name string, rest json.RawMessage, err error) {
	var fields map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&fields); err != nil || fields == nil {
		return "", nil, errors.New("not a JSON object with a \"kind\"")
	}
	if err := json.Unmarshal(fields["kind"], &name); err != nil || name == "" {
		return "", nil, errors.New("no \"kind\" in the object")
	}
	delete(fields, "kind")
	rest, err = json.Marshal(fields)
	return Kind(name), rest, err
}

// aliases are the names that the hosted product's API has for kinds.
var aliases = map[string]string{
	"apiKey": "key", "basicAuth": "basic", "jwtVerify": "jwt_verify", "customToken": "custom_token",
	"httpSignature": "http_signature",
}

// Kind is a kind's own name; some have another one in the hosted product's API.
func Kind(name string) string {
	if own, ok := aliases[name]; ok {
		return own
	}
	return name
}

// Reference returns the credential name that the object refers to, if it is a reference.
func Reference(raw json.RawMessage) (name string, ok bool, err error) {
	k, rest, err := Split(raw)
	if err != nil || k != credentialKind {
		return "", false, err
	}
	var ref struct {
		Name string `json:"name"`
	}
	dec := json.NewDecoder(bytes.NewReader(rest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&ref); err != nil || ref.Name == "" {
		return "", false, errors.New("a reference to a credential is {\"kind\": \"credential\", \"name\": \"…\"}")
	}
	return ref.Name, true, nil
}

// Refer is the JSON form of a reference to the credential name.
func Refer(name string) json.RawMessage {
	b, _ := json.Marshal(map[string]string{"kind": credentialKind, "name": name})
	return b
}

// unknown is the error for a kind that nothing implements; known are the ones there are.
func unknown(what, name string, known []string) error {
	slices.Sort(known)
	return fmt.Errorf("unknown %s kind %q; the kinds are: %s", what, name, strings.Join(known, ", "))
}
