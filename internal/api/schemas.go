package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/caddy-rr/caddy-rr/internal/wire"
	"github.com/caddy-rr/caddy-rr/store"
)

// openAPI writes the document.
func (h *handler) openAPI() ([]byte, error) {
	h.describeSecrets()
	all := h.huma.OpenAPI().Components.Schemas.Map()
	asked := map[string]bool{}
	for _, o := range h.routes.operations {
		if o.body != nil {
			reach(all, asked, &huma.Schema{Ref: schemaPrefix + nameSchema(o.body.schema, "")})
		}
	}
	for name, schema := range all {
		if strings.HasPrefix(name, foreign) {
			delete(all, name)
			continue
		}
		walk(schema, func(s *huma.Schema) {
			if s.Type == huma.TypeArray {
				s.Nullable = false // lists are never null here
			}
		})
		if !asked[name] && schema.AdditionalProperties == false {
			schema.AdditionalProperties = nil // answers may have more one day
		}
	}
	codes := []any{}
	for code := range kinds {
		codes = append(codes, code)
	}
	slices.SortFunc(codes, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	all["Problem"].Properties["code"].Enum = codes
	text, err := json.Marshal(h.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("describing the management API: %w", err)
	}
	return append(text, '\n'), nil
}

// describeSecrets says what credentialSecret has, for each kind. More names are taken than
// these: the original's, and those of the configuration.
func (h *handler) describeSecrets() {
	registry := h.huma.OpenAPI().Components.Schemas
	words := ""
	var shapes []*huma.Schema
	for _, side := range []string{store.ProxySide, store.TargetSide} {
		types := wire.SecretTypes(side)
		seen := map[reflect.Type]bool{}
		for _, name := range wire.AuthTypes(side) {
			if t := types[name]; !seen[t] {
				seen[t] = true
				shape := registry.Schema(t, true, "")
				registry.SchemaFromRef(shape.Ref).AdditionalProperties = nil
				words += "; `" + name + "` (" + side + "): " + strings.TrimPrefix(shape.Ref, schemaPrefix)
				if !slices.ContainsFunc(shapes, func(s *huma.Schema) bool { return s.Ref == shape.Ref }) {
					shapes = append(shapes, shape)
				}
			}
		}
	}
	for _, request := range []string{"CredentialRequest", "RotateRequest"} {
		of := registry.Map()[request].Properties["credentialSecret"]
		of.AnyOf = shapes
		of.Description += ". By kind: " + words[2:]
	}
}

// walk calls f with a schema and all that are in it.
func walk(s *huma.Schema, f func(*huma.Schema)) {
	if s == nil {
		return
	}
	f(s)
	walk(s.Items, f)
	if more, ok := s.AdditionalProperties.(*huma.Schema); ok {
		walk(more, f)
	}
	for _, p := range s.Properties {
		walk(p, f)
	}
	for _, list := range [][]*huma.Schema{s.OneOf, s.AnyOf, s.AllOf} {
		for _, p := range list {
			walk(p, f)
		}
	}
}

// reach notes the names of the schemas that a schema refers to.
func reach(all map[string]*huma.Schema, names map[string]bool, s *huma.Schema) {
	walk(s, func(s *huma.Schema) {
		name, refers := strings.CutPrefix(s.Ref, schemaPrefix)
		if refers && !names[name] {
			names[name] = true
			reach(all, names, all[name])
		}
	})
}
