package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// part is a series of rounds under one condition.
type part struct {
	Name   string
	Title  string
	Rows   string // pattern of the rows it takes
	Pinned bool   // the gateway has one core and GOMAXPROCS=1, instead of all and Go's default
	Rate   bool   // requests come at a fixed rate, instead of one after the other

	selected []row
}

// some are the rows of the parts that need not show everything.
const some = "^(bare|control|header-up|key-bearer|key-inline|jwt-rs256-10000)$"

var parts = []part{
	{Name: "one-core", Title: "One core", Rows: ".", Pinned: true},
	{Name: "rate", Title: "Latency at a fixed rate", Rows: some, Pinned: true, Rate: true},
	{Name: "all-cores", Title: "All cores", Rows: some},
}

func partNames() string {
	names := make([]string, len(parts))
	for i, p := range parts {
		names[i] = p.Name
	}
	return strings.Join(names, ", ")
}

// selectParts gives the parts that the options ask for, with their rows out of all.
// Parts for which no row is left are left out.
func selectParts(o options, all []row) ([]part, error) {
	re, err := regexp.Compile(o.parts)
	if err != nil {
		return nil, fmt.Errorf("parts: %w", err)
	}
	var selected []part
	for _, p := range parts {
		if !re.MatchString(p.Name) {
			continue
		}
		if p.selected, err = selectRows(all, p.Rows, o.rows); err != nil {
			return nil, err
		}
		if len(p.selected) > 0 {
			selected = append(selected, p)
		}
	}
	if len(selected) == 0 {
		return nil, errors.New("no part and row match -parts and -rows")
	}
	return selected, nil
}

// length is about how long the part takes, with half a second for the start of each gateway.
func (p part) length(o options) time.Duration {
	life := time.Duration(o.rounds)*o.duration + p.warmups()*o.warmup + time.Second/2
	return time.Duration(o.lives*len(p.selected)) * life
}

// cpu is whether promises and limits of CPU time are meant for it.
func (p part) cpu() bool { return p.Pinned && !p.Rate }

// heap is whether it is counted what requests allocate, which takes a second warm-up.
// It is the same in all parts.
func (p part) heap() bool { return p.cpu() }

func (p part) warmups() time.Duration {
	if p.heap() {
		return 2
	}
	return 1
}

// rate is how many requests a second are sent; 0 for as many as are answered.
func (p part) rate(o options) float64 {
	if p.Rate {
		return o.rate
	}
	return 0
}
