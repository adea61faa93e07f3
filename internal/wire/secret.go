package wire

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/caddy-rr/caddy-rr/internal/strictjson"
	"github.com/caddy-rr/caddy-rr/store"
)

// kind is a kind of credential on one side.
type kind struct {
	name  string   // in the record
	types []string // credentialAuthType, the original's name first
	model any      // a struct of the members
	// refused are options that only a configuration may have, and why.
	refused map[string]string
	// fold turns members that the record has in another form into those that it has.
	fold func(x *secretReader)
	// check judges the whole, when it has been merged.
	check  func(x *secretReader)
	schema func() *schema
}

// newKind completes a kind.
func newKind(k kind) *kind {
	k.schema = sync.OnceValue(func() *schema { return schemaOf(reflect.TypeOf(k.model)) })
	return &k
}

var proxyKinds = []*kind{
	newKind(kind{name: "key", types: []string{"key", "apiKey"}, model: ProxyKeySecret{}, fold: foldKeys, check: needsKey}),
	newKind(kind{name: "bearer", types: []string{"bearer"}, model: ProxyBearerSecret{}, fold: foldToken, check: needsToken}),
	newKind(kind{name: "basic", types: []string{"basic", "basicAuth"}, model: ProxyBasicSecret{}, fold: foldPassword, check: needs("username", "password")}),
	newKind(kind{name: "jwt", types: []string{"jwt"}, model: ProxyJWTSecret{}, fold: foldToken, check: needsToken}),
	newKind(kind{name: "jwt_verify", types: []string{"jwtVerify", "jwt_verify"}, model: JWTVerifySecret{}, fold: foldFrom, check: needsIssuer}),
	newKind(kind{name: "introspect", types: []string{"introspect"}, model: IntrospectSecret{}, fold: foldFrom, check: needs("url")}),
	newKind(kind{name: "mtls", types: []string{"mtls"}, model: MTLSSecret{}}),
	newKind(kind{name: "none", types: []string{"none"}, model: NoSecret{}}),
}

var targetKinds = []*kind{
	newKind(kind{name: "key", types: []string{"key", "apiKey"}, model: TargetKeySecret{}, check: needs("secret")}),
	newKind(kind{name: "bearer", types: []string{"bearer"}, model: TargetBearerSecret{}, check: needs("token")}),
	newKind(kind{name: "basic", types: []string{"basic", "basicAuth"}, model: TargetBasicSecret{}, check: needs("username", "password")}),
	newKind(kind{name: "jwt", types: []string{"jwt"}, model: TargetJWTSecret{}, fold: foldTo, check: checkMinting}),
	newKind(kind{name: "oauth2", types: []string{"oauth2"}, model: OAuth2Secret{}, refused: rotatedFile, fold: foldTo, check: checkOAuth2}),
	newKind(kind{name: "custom_token", types: []string{"customToken", "custom_token"}, model: CustomTokenSecret{}, fold: foldTo, check: checkCustomToken}),
	newKind(kind{name: "custom", types: []string{"custom"}, model: CustomSecret{}, fold: foldCustom, check: needs("values")}),
	newKind(kind{name: "none", types: []string{"none"}, model: NoSecret{}}),
	newKind(kind{name: "sigv4", types: []string{"sigv4"}, model: SigV4Secret{}, check: needs("access_key_id", "secret_access_key", "region", "service")}),
	newKind(kind{name: "http_signature", types: []string{"httpSignature", "http_signature"}, model: HTTPSignatureSecret{}, check: needsSigningKey}),
}

// rotatedFile is the option of oauth2 that names a file.
var rotatedFile = map[string]string{
	"keepRotated":  "it writes to a file, which only a configuration may name; leave it out",
	"keep_rotated": "it writes to a file, which only a configuration may name; leave it out",
}

// kindOf is the kind that an auth type names on a side, nil if it names none.
func kindOf(side, authType string) *kind {
	for _, k := range kindsOf(side) {
		if slices.Contains(k.types, authType) {
			return k
		}
	}
	return nil
}

func kindsOf(side string) []*kind {
	if side == store.ProxySide {
		return proxyKinds
	}
	return targetKinds
}

// AuthTypes are the values of credentialAuthType on a side, the original's names first.
func AuthTypes(side string) []string {
	var first, more []string
	for _, k := range kindsOf(side) {
		first = append(first, k.types[0])
		more = append(more, k.types[1:]...)
	}
	return append(first, more...)
}

// SecretTypes are the structs that describe credentialSecret on a side, by auth type.
func SecretTypes(side string) map[string]reflect.Type {
	list := map[string]reflect.Type{}
	for _, k := range kindsOf(side) {
		for _, name := range k.types {
			list[name] = reflect.TypeOf(k.model)
		}
	}
	return list
}

// secretReader reads a credentialSecret.
type secretReader struct {
	*reader
	*members
	kind *kind
	old  map[string]any // what is stored; nil of a new credential
	spec map[string]any // what is to be stored, once it is merged
	// chosen are the fields that say which of several that exclude each other is meant, by
	// group.
	chosen map[string]*field
	renew  bool // a key is made if none is said
	made   Generated
}

// spec reads a credentialSecret and merges it with the stored spec, if there is one. v is
// nil if the body has none.
func (r *reader) spec(k *kind, v any, at string, stored store.Secret, renew bool) (store.Secret, *Generated) {
	x := &secretReader{reader: r, kind: k, renew: renew || stored == nil}
	if stored != nil {
		x.old = decodeSpec(stored)
	}
	object := map[string]any{}
	if v != nil {
		var ok bool
		if object, ok = r.asObject(v, at); !ok {
			return nil, nil
		}
	}
	before := len(r.faults)
	x.read(object, at)
	x.merge()
	if k.check != nil {
		k.check(x)
	}
	if len(r.faults) > before {
		return nil, nil
	}
	x.spec["kind"] = k.name
	spec, err := json.Marshal(x.spec)
	if err != nil {
		r.fault(at, "it cannot be stored")
		return nil, nil
	}
	if x.made.Key == "" && len(x.made.Warnings) == 0 {
		return spec, nil
	}
	return spec, &x.made
}

// read reads the members.
func (x *secretReader) read(object map[string]any, at string) {
	var ignore []string
	for _, name := range sortedKeys(x.kind.refused) {
		if _, there := object[name]; there {
			x.fault(pointer(at, name), "%s", x.kind.refused[name])
			ignore = append(ignore, name)
		}
	}
	x.members = x.kind.schema().decode(x.reader, object, at, ignore...)
	x.choose()
	if x.kind.fold != nil {
		x.kind.fold(x)
	}
}

// decodeSpec is a stored spec.
func decodeSpec(spec store.Secret) map[string]any {
	object, err := strictjson.Object(spec, strictjson.Options{})
	if err != nil {
		return map[string]any{} // it was made here, so there is none
	}
	return object
}

// merge makes the new spec of the stored one and of what is given.
func (x *secretReader) merge() {
	if x.startsAnew() {
		x.old = nil
	}
	x.spec = maps.Clone(x.old)
	if x.spec == nil {
		x.spec = map[string]any{}
	}
	x.exclude()
	x.keepAddresses()
	for key, v := range x.plain() {
		x.spec[key] = v
	}
	for key, v := range x.values {
		if v == nil {
			delete(x.spec, key)
		}
	}
}

// startsAnew tells whether nothing of the stored spec has a meaning any more: another grant
// is another credential.
func (x *secretReader) startsAnew() bool {
	grant, ok := x.values["grant"].(string)
	return x.kind.name == "oauth2" && ok && grant != x.old["grant"]
}

// choose refuses what is given and cannot stand beside one another.
func (x *secretReader) choose() {
	x.chosen = map[string]*field{}
	for _, f := range x.kind.schema().fields {
		if f.group == "" || x.values[f.key] == nil || isFalse(x.values[f.key]) {
			continue
		}
		other := x.chosen[f.group]
		if other != nil && !compatible(other.numbers, f.numbers) {
			x.fault(x.place(f.key, f.name), "%s and %s exclude each other", f.name, other.name)
		}
		if other == nil || len(f.numbers) < len(other.numbers) {
			x.chosen[f.group] = f
		}
	}
}

// exclude takes from the stored spec what cannot stand beside what is given.
func (x *secretReader) exclude() {
	for _, f := range x.kind.schema().fields {
		if c := x.chosen[f.group]; c != nil && !compatible(c.numbers, f.numbers) {
			delete(x.spec, f.key)
		}
	}
}

func isFalse(v any) bool { b, ok := v.(bool); return ok && !b }

// compatible tells whether two lists of numbers have one in common.
func compatible(a, b string) bool {
	return slices.ContainsFunc(strings.Split(a, ","), func(n string) bool { return slices.Contains(strings.Split(b, ","), n) })
}

// keepAddresses refuses to send secrets that are stored to another address than before:
// whoever may change a credential need not know what is in it.
func (x *secretReader) keepAddresses() {
	kept := slices.ContainsFunc(x.kind.schema().fields, func(f *field) bool {
		return x.sent(f) && x.spec[f.key] != nil && !x.given(f.key)
	})
	if !kept {
		return
	}
	for _, f := range x.kind.schema().fields {
		if v := x.values[f.key]; f.address && v != nil && v != x.old[f.key] {
			x.fault(x.place(f.key, f.name), "what is stored and not said here would go to another address: say all secrets again to change it")
		}
	}
}

// sent tells whether a value that is not shown may be sent to an address of its
// credential. To where keys are fetched only the headers go.
func (x *secretReader) sent(f *field) bool {
	if x.kind.name == "jwt_verify" {
		return f.key == "request_headers"
	}
	return !f.open && !f.address && f.key != "ca"
}

// needs makes a check that there are some members.
func needs(keys ...string) func(*secretReader) {
	return func(x *secretReader) {
		for _, key := range keys {
			f := x.kind.schema().byKey(key)
			x.require(key, f.name)
		}
	}
}

// require reports a member that is not there, or empty.
func (x *secretReader) require(key, name string) {
	switch v := x.spec[key].(type) {
	case nil:
		if !x.bad[key] {
			x.fault(x.place(key, name), "%s is missing: %s needs it", name, x.kind.types[0])
		}
	case string:
		if strings.TrimSpace(v) == "" {
			x.fault(x.place(key, name), "it is empty")
		}
	}
}
