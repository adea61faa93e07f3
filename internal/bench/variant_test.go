package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

func TestVariant(t *testing.T) {
	o, err := parseOptions([]string{"-variant", "gogc=key-bearer,GOGC=200,GOMEMLIMIT=64MiB", "-variant", "pgo=bare,caddy=/x/caddy"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	gogc, pgo := o.variants[0], o.variants[1]
	if gogc.Name != "gogc" || gogc.Against != "key-bearer" || !slices.Equal(gogc.Variables, []string{"GOGC=200", "GOMEMLIMIT=64MiB"}) {
		t.Errorf("%+v", gogc)
	}
	at := slices.IndexFunc(rows, func(r row) bool { return r.Name == "key-bearer" })
	if gogc.Config != rows[at].Config || gogc.Promise != 0 || gogc.Adds != 0 || gogc.Limit != 0 || gogc.Warm {
		t.Errorf("it is not the row without its promises: %+v", gogc)
	}
	if pgo.Caddy != "/x/caddy" || pgo.Against != "bare" || len(pgo.Variables) != 0 {
		t.Errorf("%+v", pgo)
	}
	for _, bad := range []string{"", "x", "x=", "x=nothing", "=bare", "control=bare", "x=bare,GOGC", "x=bare,=1", "x=bare -variant x=bare"} {
		var args []string
		for _, part := range strings.Split(bad, " -variant ") {
			args = append(args, "-variant", part)
		}
		if _, err := parseOptions(args, io.Discard); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
