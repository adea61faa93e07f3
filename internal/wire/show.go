package wire

import (
	"strings"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
	"github.com/caddy-rr/caddy-rr/store/secret"
)

// showSpec is what may be shown of a spec: what is open, by the API's names.
func showSpec(k *kind, spec store.Secret) map[string]any {
	if k == nil || spec == nil {
		return nil
	}
	stored := decodeSpec(spec)
	shown := map[string]any{}
	for _, f := range k.schema().fields {
		v, there := stored[f.key]
		if !there || !f.open || f.address && hasQuery(v) {
			continue
		}
		shown[f.name] = f.show(v)
	}
	if k.name == "custom" {
		showCustom(stored, shown)
	}
	return shown
}

// hasQuery tells whether an address has a query, in which there may be anything.
func hasQuery(v any) bool {
	address, _ := v.(string)
	return strings.ContainsAny(address, "?@")
}

// show is a stored value by the API's names.
func (f *field) show(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if f.inner == nil {
			return v
		}
		shown := map[string]any{}
		for _, inner := range f.inner.fields {
			if x, there := v[inner.key]; there {
				shown[inner.name] = inner.show(x)
			}
		}
		return shown
	case []any:
		if f.inner == nil {
			return v
		}
		list := make([]any, 0, len(v))
		for _, x := range v {
			object, ok := x.(map[string]any)
			if !ok {
				return nil
			}
			list = append(list, f.show(object))
		}
		return list
	}
	return v
}

// showCustom says what a custom credential sends, without the values.
func showCustom(stored, shown map[string]any) {
	list, _ := stored["values"].([]any)
	slots := make([]CustomSlot, 0, len(list))
	for _, v := range list {
		object, _ := v.(map[string]any)
		in, _ := object["in"].(string)
		name, _ := object["name"].(string)
		slots = append(slots, CustomSlot{in, name})
	}
	shown["sends"] = slots
}

// once is a key that is shown to its maker: JSON has it, printing has not.
type once = secret.String

// moments are shown to the millisecond, in UTC, as JavaScript's toISOString does.
func shownTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// shownTimes are optional ones.
func shownTimes(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = shownTime(t)
	return &t
}

// Ids are what all records are shown with. The original keeps its records in a table with
// two keys, and shows them.
type Ids struct {
	PKey     string `json:"pKey" readOnly:"true" doc:"The same as clientId; of a rule, the id of its record"`
	SKey     string `json:"sKey" readOnly:"true" doc:"The record's id"`
	ClientID string `json:"clientId" readOnly:"true" doc:"The client that owns it" example:"default"`
	ParentID string `json:"parentId" readOnly:"true" doc:"The same as clientId"`
	Declared bool   `json:"declared,omitempty" readOnly:"true" doc:"The configuration declares it; it cannot be changed here"`
}

func idsOf(h *store.Head) Ids {
	return Ids{PKey: h.Client, SKey: h.ID, ClientID: h.Client, ParentID: h.Client, Declared: h.Declared}
}

// sameIDs refuses a body that is about another record than the one it is sent to.
func (r *reader) sameIDs(object map[string]any, h *store.Head, idName string) {
	ids := map[string]string{idName: h.ID, "sKey": h.ID, "pKey": h.Client, "clientId": h.Client, "parentId": h.Client}
	for _, name := range sortedKeys(ids) {
		if v, there := object[name]; there && v != any(ids[name]) {
			r.fault(pointer("", name), "it is not the record's, and cannot be changed")
		}
	}
}
