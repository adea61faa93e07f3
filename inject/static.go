package inject

import (
	"net/http"

	"github.com/caddy-rr/caddy-rr/store/secret"
)

// static is what the kinds with values known beforehand have in common.
type static struct {
	values []*value
}

func (s *static) add(slot Slot, v *secret.Value, format func(string) string) error {
	x, err := newValue(slot, v, format)
	if err != nil {
		return err
	}
	s.values = append(s.values, x)
	return nil
}

// Slots implements Slotted.
func (s *static) Slots() []Slot {
	slots := make([]Slot, len(s.values))
	for i, v := range s.values {
		slots[i] = v.slot
	}
	return slots
}

// parts are the values, for taking them out of answers again.
func (s *static) parts() []*value { return s.values }

// Inject implements Injector.
func (s *static) Inject(r *http.Request) error {
	for _, v := range s.values {
		v.apply(r)
	}
	return nil
}
