package host

import (
	"encoding/json"
	"testing"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		name, in, kind, rest, err string
	}{
		{"kind and fields", `{"kind":"key","secrets":["a"]}`, "key", `{"secrets":["a"]}`, ""},
		{"kind alone", `{"kind":"none"}`, "none", `{}`, ""},
		{"no kind", `{"secret":"a"}`, "", "", `no "kind" in the object`},
		{"kind of wrong type", `{"kind":7}`, "", "", `no "kind" in the object`},
		{"not an object", `["kind"]`, "", "", `not a JSON object with a "kind"`},
		{"null", `null`, "", "", `not a JSON object with a "kind"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, rest, err := Split(json.RawMessage(tt.in))
			if got := errText(err); got != tt.err || k != tt.kind || string(rest) != tt.rest {
				t.Errorf("got %q %q %q", k, rest, got)
			}
		})
	}
}

func TestReference(t *testing.T) {
	name, ok, err := Reference(Refer("stripe"))
	if name != "stripe" || !ok || err != nil {
		t.Errorf("a reference made by Refer is not read back: %q %v %v", name, ok, err)
	}
	if _, ok, err := Reference(json.RawMessage(`{"kind":"key"}`)); ok || err != nil {
		t.Errorf("a kind was taken for a reference: %v %v", ok, err)
	}
	for _, in := range []string{`{"kind":"credential"}`, `{"kind":"credential","name":"a","x":1}`, `{"kind":"credential","name":["a"]}`} {
		if _, _, err := Reference(json.RawMessage(in)); err == nil {
			t.Errorf("%s was accepted", in)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
