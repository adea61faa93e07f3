package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestRowsAreComparedWithEarlierOnes(t *testing.T) {
	seen := map[string]bool{"": true}
	for _, r := range rows {
		if seen[r.Name] {
			t.Errorf("row %q is there twice, or has no name", r.Name)
		}
		if !seen[r.Against] {
			t.Errorf("row %q is compared with %q, which does not come before it", r.Name, r.Against)
		}
		if r.Promise > 0 && r.Against == "" {
			t.Errorf("row %q promises a ratio to nothing", r.Name)
		}
		seen[r.Name] = true
	}
}

func TestRowsShowNoSecretInTheirCaddyfile(t *testing.T) {
	for _, r := range rows {
		if strings.Contains(r.Caddyfile, callerKey) || strings.Contains(r.Caddyfile, vendorKey) {
			t.Errorf("row %q has a literal secret", r.Name)
		}
	}
}

func TestRowsWithTokensSendAndHideThem(t *testing.T) {
	for _, r := range rows {
		with := r.Tokens != tokens{}
		if sends := strings.Contains(strings.Join(r.Headers, "\n"), eachToken); sends != with || (r.Hides == eachToken) != with {
			t.Errorf("row %q has the tokens %+v, the headers %q and hides %q", r.Name, r.Tokens, r.Headers, r.Hides)
		}
		if with && (r.Tokens.Algorithm == "" || r.Tokens.Count < 1) {
			t.Errorf("row %q has incomplete tokens: %+v", r.Name, r.Tokens)
		}
	}
}

func TestSelectedRowsBringWhatTheyAreComparedWith(t *testing.T) {
	for pattern, want := range map[string]string{
		"^key-":             "bare key-bearer key-minted key-oauth2",
		"oauth2":            "bare key-bearer key-oauth2",
		"^bare$":            "bare",
		"control|b$":        "bare control",
		"rs256-same|^ctrl$": "bare jwt-rs256-same",
	} {
		selected, err := selectRows(rows, pattern)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, r := range selected {
			names = append(names, r.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q selects %q, want %q", pattern, got, want)
		}
	}
	if all, err := selectRows(rows, "."); err != nil || len(all) != len(rows) {
		t.Errorf("all rows: %d of %d, %v", len(all), len(rows), err)
	}
	for _, pattern := range []string{"no such row", "("} {
		if selected, err := selectRows(rows, pattern); err == nil {
			t.Errorf("%q selects %v", pattern, selected)
		}
	}
}

func TestOptionsThatCannotBeMeasuredAreRefused(t *testing.T) {
	if o, err := parseOptions(nil, io.Discard); err != nil || o.rounds == 0 {
		t.Errorf("the defaults: %v", err)
	}
	for _, args := range []string{"-rounds 0", "-lives 0", "-connections 0", "-duration 0s", "-warmup -1s", "-rate -1", "more", "-unknown"} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s: accepted", args)
		}
	}
}

func TestDefaultsAreDoneInFiveMinutes(t *testing.T) {
	o, err := parseOptions(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	perRow := time.Duration(o.lives) * (time.Duration(o.rounds)*o.duration + 2*o.warmup + time.Second)
	if total := perRow * time.Duration(len(rows)); total > 5*time.Minute {
		t.Errorf("about %s, with a second to start each gateway: shorten the turns or have fewer", total)
	}
}
