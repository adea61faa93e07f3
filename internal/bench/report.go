package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
)

// quietCore is the share of its core that a gateway under full load has when
// nothing else wants it.
const quietCore = 0.9

// printTable writes the results as a Markdown table with what is needed to read
// it. CPU is microseconds of the gateway process per request.
func printTable(w io.Writer, o options, results []result) {
	fmt.Fprintf(w, "%s, %d connections, %d-byte answers, %d rounds of %s in %d lives, %s\n\n",
		runtime.Version(), o.connections, bodySize, o.lives*o.rounds, o.duration, o.lives, pressure(o))
	fmt.Fprintln(w, "| row | requests/s | core busy | CPU µs/request [lowest–highest] | p50 µs | p99 µs | heap objects | heap bytes | against | medians | paired | lowest | promise | |")
	fmt.Fprintln(w, "| --- | --: | --: | --: | --: | --: | --: | --: | --- | --: | --: | --: | --: | --- |")
	for _, r := range results {
		cells := append(ownCells(r), comparedCells(r)...)
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
	fmt.Fprintln(w, "\nRatios are of CPU per request: of the medians, the median of the ratios round by round (which decides), lowest against lowest.")
	printLatency(w, o, results)
	if o.rate <= 0 && slices.ContainsFunc(results, func(r result) bool { return r.Busy < quietCore }) {
		fmt.Fprintf(w, "A gateway had less than %.0f %% of its core: something else ran on it, or the load was too light. Measure again on a quiet machine.\n", 100*quietCore)
	}
}

func pressure(o options) string {
	if o.rate > 0 {
		return fmt.Sprintf("%g requests/s", o.rate)
	}
	return "as many requests as are answered"
}

func ownCells(r result) []string {
	return []string{
		r.Name,
		fmt.Sprintf("%.0f", r.PerSecond),
		fmt.Sprintf("%.0f %%", 100*r.Busy),
		fmt.Sprintf("%.1f [%.1f–%.1f]", r.CPU, r.CPUMin, r.CPUMax),
		fmt.Sprintf("%.0f", r.P50),
		fmt.Sprintf("%.0f", r.P99),
		fmt.Sprintf("%.1f", r.Objects),
		fmt.Sprintf("%.0f", r.Bytes),
	}
}

func comparedCells(r result) []string {
	if r.Against == "" {
		return []string{"", "", "", "", "", ""}
	}
	promise := ""
	if r.Promise > 0 {
		promise = fmt.Sprintf("≤ %.2f", r.Promise)
	}
	return []string{
		r.Against,
		fmt.Sprintf("%.3f", r.Medians),
		fmt.Sprintf("%.3f", r.Paired),
		fmt.Sprintf("%.3f", r.Lowest),
		promise,
		r.Verdict,
	}
}

// printLatency says what is added to the median latency. Only at a fixed rate:
// a gateway that is never idle has a queue, and that is what one would see.
func printLatency(w io.Writer, o options, results []result) {
	if o.rate <= 0 {
		return
	}
	byName := map[string]result{}
	for _, r := range results {
		byName[r.Name] = r
		if other, ok := byName[r.Against]; ok {
			fmt.Fprintf(w, "%s adds %+.0f µs to the median latency of %s.\n", r.Name, r.P50-other.P50, other.Name)
		}
	}
}

// writeJSON writes the results, and how they came about, to a file.
func writeJSON(path string, o options, results []result) error {
	out := struct {
		Go          string   `json:"go"`
		Lives       int      `json:"lives"`
		Rounds      int      `json:"rounds_per_life"`
		Duration    string   `json:"duration"`
		Rate        float64  `json:"rate,omitempty"`
		Connections int      `json:"connections"`
		Rows        []result `json:"rows"`
	}{runtime.Version(), o.lives, o.rounds, o.duration.String(), o.rate, o.connections, results}
	text, err := json.MarshalIndent(out, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
