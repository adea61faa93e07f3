package main

import (
	"slices"
	"time"
)

// What the table says about a row's promise.
const (
	keptPromise   = "kept"
	missedPromise = "missed"
)

// result is one row of the table. CPU, P50 and P99 are microseconds; the heap
// figures are per request.
type result struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"requests_per_second"`
	CPU       float64 `json:"cpu_us_median"`
	CPUMin    float64 `json:"cpu_us_min"`
	CPUMax    float64 `json:"cpu_us_max"`
	Busy      float64 `json:"gateway_core_busy"`
	P50       float64 `json:"latency_us_p50"`
	P99       float64 `json:"latency_us_p99"`
	Objects   float64 `json:"heap_objects"`
	Bytes     float64 `json:"heap_bytes"`

	// Of CPU per request, against another row; zero when there is none.
	Against string  `json:"against,omitempty"`
	Medians float64 `json:"ratio_of_medians,omitempty"`
	Paired  float64 `json:"median_of_paired_ratios,omitempty"`
	Lowest  float64 `json:"ratio_of_lowest,omitempty"`

	Promise float64 `json:"promise,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
}

// summarize turns what was seen into the table's rows.
func summarize(all []measured) []result {
	results := make([]result, len(all))
	for i, m := range all {
		results[i] = figures(m)
		for j, other := range all {
			if other.row.Name == m.row.Against {
				compare(&results[i], results[j], m.turns, other.turns)
			}
		}
	}
	return results
}

// figures are a row's own, compared with nothing.
func figures(m measured) result {
	cpu := each(m.turns, func(t turn) float64 { return microseconds(t.cpu) })
	return result{
		Name:      m.row.Name,
		PerSecond: median(each(m.turns, func(t turn) float64 { return t.perSecond })),
		CPU:       median(cpu),
		CPUMin:    slices.Min(cpu),
		CPUMax:    slices.Max(cpu),
		Busy:      median(each(m.turns, func(t turn) float64 { return t.busy })),
		P50:       median(each(m.turns, func(t turn) float64 { return microseconds(t.p50) })),
		P99:       median(each(m.turns, func(t turn) float64 { return microseconds(t.p99) })),
		Objects:   median(each(m.heaps, func(h perRequest) float64 { return h.objects })),
		Bytes:     median(each(m.heaps, func(h perRequest) float64 { return h.bytes })),
		Against:   m.row.Against,
		Promise:   m.row.Promise,
	}
}

// compare adds the ratios to another row and judges the promise. The paired
// ratio decides: its two sides are a moment apart, so a machine that is slower
// for a while is slower for both.
func compare(r *result, other result, own, others []turn) {
	paired := make([]float64, len(own))
	for i := range own {
		paired[i] = float64(own[i].cpu) / float64(others[i].cpu)
	}
	r.Medians = r.CPU / other.CPU
	r.Paired = median(paired)
	r.Lowest = r.CPUMin / other.CPUMin
	switch {
	case r.Promise == 0:
	case r.Paired <= r.Promise:
		r.Verdict = keptPromise
	default:
		r.Verdict = missedPromise
	}
}

func microseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func each[T any](items []T, figure func(T) float64) []float64 {
	figures := make([]float64, len(items))
	for i, item := range items {
		figures[i] = figure(item)
	}
	return figures
}

// median is the middle figure, or the mean of the two middle ones.
func median(figures []float64) float64 {
	sorted := slices.Sorted(slices.Values(figures))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
