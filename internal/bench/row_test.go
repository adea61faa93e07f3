package main

import (
	"io"
	"os"
	"path/filepath"
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
		if !seen[r.HeapAgainst] {
			t.Errorf("row %q has its heap compared with %q, which does not come before it", r.Name, r.HeapAgainst)
		}
		if (r.Promise > 0 || r.Adds > 0) && r.Against == "" || r.Warm && r.HeapAgainst == "" {
			t.Errorf("row %q promises to be close to nothing", r.Name)
		}
		if r.Limit != 0 && r.Limit < 1.3*max(r.Promise, 1) || r.Warm && r.Limit == 0 {
			t.Errorf("row %q has the limit %v, promised is %v: a busy machine would be above it", r.Name, r.Limit, r.Promise)
		}
		if r.Promise > 0 && r.Adds > 0 {
			t.Errorf("row %q has two promises, and the table room for one", r.Name)
		}
		seen[r.Name] = true
	}
}

func TestRowsShowNoSecretInTheirConfig(t *testing.T) {
	for _, r := range rows {
		if strings.Contains(r.Config, callerKey) || strings.Contains(r.Config, vendorKey) {
			t.Errorf("row %q has a literal secret", r.Name)
		}
	}
}

func TestRowsWithTokensSendAndHideThem(t *testing.T) {
	for _, r := range rows {
		with := r.Tokens != tokens{}
		arrives := r.Sends == bearer(eachToken) // which only a bare proxy may let it
		if sends := strings.Contains(strings.Join(r.Headers, "\n"), eachToken); sends != with || (r.Hides == eachToken || arrives && r.Config == bareCaddyfile) != with {
			t.Errorf("row %q has the tokens %+v, the headers %q and hides %q", r.Name, r.Tokens, r.Headers, r.Hides)
		}
		if with && (r.Tokens.Algorithm == "" || r.Tokens.Count < 1) {
			t.Errorf("row %q has incomplete tokens: %+v", r.Name, r.Tokens)
		}
	}
}

func TestManyRulesAreAsManyAndTheLastOneMatches(t *testing.T) {
	for _, count := range []int{1, 10, 1000} {
		lines := strings.Split(strings.TrimSpace(manyRules(count)), "\n")
		if lines[0] != "default deny" || len(lines) != count+1 {
			t.Errorf("%d lines for %d rules", len(lines), count)
		}
		for i, line := range lines {
			if fits := strings.Contains(line, " "+measuredPath) && !strings.Contains(line, "PUT"); fits != (i == count) {
				t.Errorf("rule %d of %d: %s", i, count, line)
			}
		}
	}
}

func TestSelectedRowsBringWhatTheyAreComparedWith(t *testing.T) {
	for pattern, want := range map[string]string{
		"^key-[^i]":         "bare key-bearer key-plain-log key-minted key-oauth2",
		"oauth2":            "bare key-bearer key-oauth2",
		"^bare$":            "bare",
		"^control|^ba.*e$":  "bare control",
		"rs256-same|^ctrl$": "bare bare-rs256 jwt-rs256-same",
		"no such row":       "",
	} {
		selected, err := selectRows(rows, pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := namesOf(selected); got != want {
			t.Errorf("%q selects %q, want %q", pattern, got, want)
		}
	}
	if both, err := selectRows(rows, "^key-", "oauth2|control"); err != nil || namesOf(both) != "bare key-bearer key-oauth2" {
		t.Errorf("both patterns select %q, %v", namesOf(both), err)
	}
	if all, err := selectRows(rows, "."); err != nil || len(all) != len(rows) {
		t.Errorf("all rows: %d of %d, %v", len(all), len(rows), err)
	}
	if selected, err := selectRows(rows, "("); err == nil {
		t.Errorf("( selects %v", selected)
	}
}

func namesOf(list []row) string {
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

func TestSelectedPartsHaveTheirRows(t *testing.T) {
	for _, c := range []struct{ parts, rows, want string }{
		{"one", "oauth2", "one-core: bare key-bearer key-oauth2"},
		{".", "inline", "one-core: bare key-inline; rate: bare key-inline; all-cores: bare key-inline"},
		{"all|rate", "oauth2", ""}, // they have no such row
		{"no such part", ".", ""},
		{"one", "no such row", ""},
		{"(", ".", ""},
	} {
		selected, err := selectParts(options{parts: c.parts, rows: c.rows}, rows)
		var got []string
		for _, p := range selected {
			got = append(got, p.Name+": "+namesOf(p.selected))
		}
		if (err != nil) != (c.want == "") || strings.Join(got, "; ") != c.want {
			t.Errorf("%s of %s: %q, %v", c.rows, c.parts, got, err)
		}
	}
}

func TestRowsOfPeersThatAreNotInstalledAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	found, missing := withoutMissing(rows)
	if len(found)+len(missing) != len(rows) || strings.Join(missing, " ") != namesOf(peerRows) {
		t.Errorf("%d rows are left, missing are %q", len(found), missing)
	}
}

func TestPeerConfigurationsAreFilledIn(t *testing.T) {
	for _, r := range peerRows {
		dir := t.TempDir()
		command, err := r.Program.command(r, dir, append([]string{"BENCH_DIR=" + dir, "BENCH_ADDRESS=a:1", "BENCH_UPSTREAM=u:2"}, benchSecrets...))
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, peerConfig))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text)+strings.Join(command.Args, " "), "{$") || !strings.Contains(string(text), vendorKey) {
			t.Errorf("%s: %q with\n%s", r.Name, command.Args, text)
		}
	}
}

func TestOptionsThatCannotBeMeasuredAreRefused(t *testing.T) {
	if o, err := parseOptions(nil, io.Discard); err != nil || o.rounds == 0 {
		t.Errorf("the defaults: %v", err)
	}
	for _, args := range []string{"-rounds 0", "-lives 0", "-connections 0", "-duration 0s", "-warmup -1s", "-rate 0", "-gateway-core -1", "more", "-unknown"} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil {
			t.Errorf("%s: accepted", args)
		}
	}
}

func TestDefaultsAreDoneInTenMinutes(t *testing.T) {
	o, err := parseOptions(nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	series, err := selectParts(o, rows)
	if err != nil {
		t.Fatal(err)
	}
	total := time.Minute // to make tokens and to send each of them once
	for _, p := range series {
		total += p.length(o)
	}
	if total > 10*time.Minute {
		t.Errorf("about %s: shorten the turns or have fewer", total)
	}
}
