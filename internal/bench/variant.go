package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// variantHelp describes the flag. It is how settings of the runtime and ways of building
// are compared: by turns, as everything else.
const variantHelp = "also measure, as `NAME=ROW,KEY=VALUE,…`, a row with these variables in the gateway's environment (GOGC=200), " +
	"against the row without them; the key caddy is another binary. May be given several times; -rows must match NAME too"

// variant is the row that the flag asks for.
func variant(text string) (row, error) {
	name, rest, _ := strings.Cut(text, "=")
	settings := strings.Split(rest, ",")
	var v row
	for _, r := range rows {
		if r.Name == settings[0] && r.Program.Name == "" {
			v = r
		}
		if r.Name == name {
			return row{}, fmt.Errorf("variant %q: there is a row %s already", text, name)
		}
	}
	if name == "" || v.Name == "" {
		return row{}, fmt.Errorf("variant %q: it must be NAME=ROW,KEY=VALUE,… with a row of Caddy's", text)
	}
	v.Name, v.Against, v.HeapAgainst = name, v.Name, ""
	v.Promise, v.Adds, v.Limit, v.Warm = 0, 0, 0, false
	for _, setting := range settings[1:] {
		key, value, ok := strings.Cut(setting, "=")
		switch {
		case !ok || key == "":
			return row{}, fmt.Errorf("variant %q: %q is not KEY=VALUE", text, setting)
		case key == "caddy":
			path, err := filepath.Abs(value)
			if err != nil {
				return row{}, err
			}
			v.Caddy = path
		default:
			v.Variables = append(v.Variables, setting)
		}
	}
	return v, nil
}

// addVariant is for the flag package.
func (o *options) addVariant(text string) error {
	v, err := variant(text)
	for _, other := range o.variants {
		if other.Name == v.Name {
			err = errors.Join(err, fmt.Errorf("variant %s is given twice", v.Name))
		}
	}
	o.variants = append(o.variants, v)
	return err
}

// printResident is the table of the most memory that each process had in use, which is
// what a variant trades for CPU time.
func printResident(w io.Writer, r report) {
	table(w, "row", "resident memory, peak, MiB:")
	for _, x := range r.Rows {
		line(w, x.Name, fmt.Sprintf("%.0f", x.Peak/(1<<20)))
	}
}
