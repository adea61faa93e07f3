package wire

import (
	"bytes"
	"slices"
	"time"

	"github.com/caddy-rr/caddy-rr/store"
)

// RotateRequest is a body that replaces a credential's secret.
type RotateRequest struct {
	Secret  Object   `json:"credentialSecret,omitempty" doc:"The new secret. A key credential without one gets a key that is made here and shown once" example:"{\"key\":\"rr_live_…\"}"`
	Overlap Duration `json:"overlap,omitempty" doc:"Of proxy credentials: for how long the secret from before is accepted, too, up to 90 days (2160h). Default: not at all" example:"24h"`
}

var rotateRequest = newRequest(RotateRequest{}, RotateRequest{}, nil)

// DecodeRotate reads a body that replaces the secret of old: the new one is active at once,
// the one before for an overlap. An empty body is an empty object. The error is Faults.
func DecodeRotate(body []byte, old *store.Credential, now time.Time) (*store.Credential, *Generated, error) {
	r := new(reader)
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	m, ok := rotateRequest.read(r, body, nil, "")
	k := kindOf(old.Side, old.AuthType)
	switch {
	case !ok:
		return nil, nil, r.err()
	case k == nil || len(k.schema().fields) == 0:
		r.fault("", "a credential of this kind has no secret")
		return nil, nil, r.err()
	}
	overlap := r.overlap(m, old)
	v := m.values["credentialSecret"]
	if object, _ := v.(map[string]any); len(object) == 0 && (k.name != "key" || old.Side != store.ProxySide) && !m.bad["credentialSecret"] {
		r.fault(pointer("", "credentialSecret"), "it is missing: it has the new secret")
		return nil, nil, r.err()
	}
	spec, made := r.spec(k, v, pointer("", "credentialSecret"), old.Spec, true)
	if spec != nil && bytes.Equal(spec, old.Spec) {
		r.fault(pointer("", "credentialSecret"), "it is what is in use already")
	}
	c := *old
	c.Spec, c.RotatedAt = spec, now.UTC()
	c.Previous = nil // without an overlap nothing but the new secret is accepted
	if overlap > 0 {
		c.Previous = slices.DeleteFunc(slices.Clone(old.Previous), func(p store.Previous) bool { return !now.Before(p.Until) })
		c.Previous = append(c.Previous, store.Previous{Spec: old.Spec, Until: now.Add(overlap).UTC()})
		if len(c.Previous) > MaxPrevious {
			r.fault(m.place("overlap", "overlap"), "%d secrets from before are still accepted; wait until one has ended, or rotate without overlap, which ends them all", len(c.Previous)-1)
		}
	}
	if err := r.err(); err != nil {
		return nil, nil, err
	}
	return &c, made, nil
}

func (r *reader) overlap(m *members, old *store.Credential) time.Duration {
	text, _ := m.values["overlap"].(string)
	overlap, _ := time.ParseDuration(text) // an empty text is none
	switch at := m.place("overlap", "overlap"); {
	case overlap > 0 && old.Side == store.TargetSide:
		r.fault(at, "only a proxy credential has one: upstreams decide for how long they accept a secret")
	case overlap > MaxOverlap:
		r.fault(at, "it is at most %s", MaxOverlap)
	}
	return overlap
}
