package catalog

import (
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/caddy-rr/caddy-rr/store"
)

// spec is what the view needs of the spec of a proxy credential.
type spec struct {
	Kind   string   `json:"kind"`
	Hashes []string `json:"hashes"`
}

// traits are what follows from a credential's specs.
type traits struct {
	keys []digest // of the keys that recognise it
	// eager says that it is worth compiling before the first request, because issuers' keys
	// are fetched then.
	eager bool
}

func traitsOf(side string, now store.Secret, previous []store.Previous) traits {
	if side != store.ProxySide {
		return traits{}
	}
	var s spec
	if json.Unmarshal(now, &s) != nil {
		return traits{}
	}
	t := traits{keys: s.digests(nil), eager: s.Kind == "jwt_verify"}
	for _, p := range previous {
		var before spec
		if json.Unmarshal(p.Spec, &before) == nil {
			t.keys = before.digests(t.keys)
		}
	}
	return t
}

// digests adds those of the spec's hashes of keys.
func (s *spec) digests(list []digest) []digest {
	for _, h := range s.Hashes {
		var d digest
		if text, ok := strings.CutPrefix(h, "sha256:"); ok && len(text) == hex.EncodedLen(len(d)) {
			if _, err := hex.Decode(d[:], []byte(text)); err == nil {
				list = append(list, d)
			}
		}
	}
	return list
}
