package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// quietCore is the share of its core that a gateway under full load has when
// nothing else wants it.
const quietCore = 0.9

// report is what was found in one part.
type report struct {
	Part part
	Rows []result
}

// printReport writes everything as Markdown: what was measured on, and a section for
// each part.
func printReport(w io.Writer, o options, a about, reports []report) {
	fmt.Fprintf(w, "%s, %s, Go %s, Caddy %s%s. %d rounds of %s in %d lives, %d connections, %d-byte answers: `%s`.\n",
		a.Date, a.Machine, a.Go, a.Caddy, a.peers(), o.lives*o.rounds, o.duration, o.lives, o.connections, bodySize, a.Command)
	if len(a.Missing) > 0 {
		fmt.Fprintf(w, "Not measured, since the program is not installed: %s.\n", strings.Join(a.Missing, ", "))
	}
	for _, r := range reports {
		fmt.Fprintf(w, "\n### %s\n\n", r.Part.Title)
		switch {
		case r.Part.Rate:
			printLatency(w, o, r)
		default:
			printCPU(w, r)
		}
		if r.Part.heap() {
			fmt.Fprint(w, "\n### Memory allocated\n\n")
			printHeap(w, r)
		}
		if len(o.variants) > 0 {
			fmt.Fprint(w, "\n### Memory held\n\n")
			printResident(w, r)
		}
	}
}

// printCPU is the table of CPU time.
func printCPU(w io.Writer, r report) {
	table(w, "row", "requests/s:", "core busy:", "CPU µs/request [lowest–highest]:", "against", "medians:", "paired:", "lowest:", "promise", "")
	for _, x := range r.Rows {
		line(w, x.Name, fmt.Sprintf("%.0f", x.PerSecond), fmt.Sprintf("%.0f %%", 100*x.Busy), x.CPU.text(),
			x.Against, x.ratio(x.Medians), x.ratio(x.Paired), x.ratio(x.Lowest), x.promise(), x.Verdict)
	}
	if c, ok := r.control(); ok {
		fmt.Fprintf(w, "\nError of this run: `control`, which is `bare` once more, is %+.1f %% (paired) and %+.1f %% (lowest) off.\n", 100*(c.Paired-1), 100*(c.Lowest-1))
	}
	for _, x := range r.Rows {
		if r.Part.Pinned && x.Busy < quietCore && !isPeer(x.Name) {
			fmt.Fprintf(w, "\n%s had less than %.0f %% of its core: something else ran on it, or the load was too light. Measure again on a quiet machine.\n", x.Name, 100*quietCore)
			break
		}
	}
}

// isPeer is whether the row is one of another gateway, which may be faster than the load.
func isPeer(name string) bool {
	for _, r := range peerRows {
		if r.Name == name {
			return true
		}
	}
	return false
}

func (r result) ratio(figure float64) string {
	if r.Against == "" {
		return ""
	}
	return fmt.Sprintf("%.3f", figure)
}

func (r result) promise() string {
	switch {
	case r.Promise > 0:
		return fmt.Sprintf("≤ %.2f", r.Promise)
	case r.Library > 0:
		return fmt.Sprintf("≤ %.0f µs more, of which golang-jwt takes %.0f (%+.1f, lowest %+.1f)", r.Adds, r.Library, r.More, r.LowestMore)
	case r.Adds > 0:
		return fmt.Sprintf("≤ %.0f µs more (%+.1f, lowest %+.1f)", r.Adds, r.More, r.LowestMore)
	}
	return ""
}

// printHeap is the table of what requests allocate.
func printHeap(w io.Writer, r report) {
	table(w, "row", "objects:", "bytes:", "against", "more objects:", "more bytes:", "promise", "")
	for _, x := range r.Rows {
		h := x.Heap
		if h == nil {
			continue
		}
		cells := []string{x.Name, fmt.Sprintf("%.1f", h.Objects), fmt.Sprintf("%.0f", h.Bytes), h.Against, "", "", "", h.Verdict}
		if h.Against != "" {
			cells[4], cells[5] = fmt.Sprintf("%+.1f", h.MoreObjects), fmt.Sprintf("%+.0f", h.MoreBytes)
		}
		if h.Verdict != "" {
			cells[6] = fmt.Sprintf("≤ %.0f, ≤ %.0f", heapPromise.objects, heapPromise.bytes)
		}
		line(w, cells...)
	}
}

// printLatency is the table of latency at a fixed rate. (A gateway that is never idle
// has a queue, and that is what one would see.)
func printLatency(w io.Writer, o options, r report) {
	fmt.Fprintf(w, "%g requests a second, evenly spread over all connections.\n\n", o.rate)
	table(w, "row", "requests/s:", "p50 µs [lowest–highest]:", "p99 µs:", "against", "p50 more, paired µs:", "p50 more, lowest µs:", "promise", "")
	for _, x := range r.Rows {
		cells := []string{x.Name, fmt.Sprintf("%.0f", x.PerSecond), x.P50.text(), fmt.Sprintf("%.0f", x.P99), x.Against, "", "", "", x.Verdict}
		if x.Against != "" {
			cells[5], cells[6] = fmt.Sprintf("%+.0f", x.Later), fmt.Sprintf("%+.0f", x.LowestLate)
		}
		if x.Latency > 0 {
			cells[7] = fmt.Sprintf("≤ %.0f µs more", x.Latency)
		}
		line(w, cells...)
	}
	if c, ok := r.control(); ok {
		fmt.Fprintf(w, "\nError of this run: `control`, which is `bare` once more, is %+.0f µs (paired) and %+.0f µs (lowest) off.\n", c.Later, c.LowestLate)
	}
}

// control is the row that shows the run's error.
func (r report) control() (result, bool) {
	for _, x := range r.Rows {
		if x.Name == controlRow {
			return x, true
		}
	}
	return result{}, false
}

func (s spread) text() string { return fmt.Sprintf("%.1f [%.1f–%.1f]", s.Median, s.Min, s.Max) }

// table writes a table's head; columns that end in a colon are figures.
func table(w io.Writer, columns ...string) {
	marks := make([]string, len(columns))
	for i, c := range columns {
		marks[i] = "---"
		if name, figures := strings.CutSuffix(c, ":"); figures {
			columns[i], marks[i] = name, "--:"
		}
	}
	line(w, columns...)
	line(w, marks...)
}

func line(w io.Writer, cells ...string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

// writeJSON writes the results, and how they came about, to a file.
func writeJSON(path string, o options, a about, reports []report) error {
	type section struct {
		Name string   `json:"name"`
		Rows []result `json:"rows"`
	}
	out := struct {
		about
		Lives       int       `json:"lives"`
		Rounds      int       `json:"rounds_per_life"`
		Duration    string    `json:"duration"`
		Rate        float64   `json:"rate"`
		Connections int       `json:"connections"`
		Parts       []section `json:"parts"`
	}{about: a, Lives: o.lives, Rounds: o.rounds, Duration: o.duration.String(), Rate: o.rate, Connections: o.connections}
	for _, r := range reports {
		out.Parts = append(out.Parts, section{r.Part.Name, r.Rows})
	}
	text, err := json.MarshalIndent(out, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
