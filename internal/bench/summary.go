package main

import (
	"slices"
	"time"
)

// result is what is said of one row. CPU and latency are microseconds; the heap
// figures are per request.
type result struct {
	Name      string  `json:"name"`
	PerSecond float64 `json:"requests_per_second"`
	CPU       spread  `json:"cpu_us"`
	Busy      float64 `json:"gateway_core_busy"`
	Peak      float64 `json:"peak_resident_bytes"`
	P50       spread  `json:"latency_us_p50"`
	P99       float64 `json:"latency_us_p99"`

	// Against another row; zero when there is none. Of two figures the first is the
	// median of the comparisons round by round, whose sides are a moment apart, so that a
	// machine that is slower for a while is slower for both; the second compares the
	// lowest of all rounds, in which least came between.
	Against    string  `json:"against,omitempty"`
	Medians    float64 `json:"cpu_ratio_of_medians,omitempty"`
	Paired     float64 `json:"cpu_median_of_ratios,omitempty"`
	Lowest     float64 `json:"cpu_ratio_of_lowest,omitempty"`
	More       float64 `json:"cpu_us_median_of_differences,omitempty"`
	LowestMore float64 `json:"cpu_us_difference_of_lowest,omitempty"`
	Later      float64 `json:"p50_us_median_of_differences,omitempty"`
	LowestLate float64 `json:"p50_us_difference_of_lowest,omitempty"`

	// Promises; zero and "" when there is none.
	Promise float64 `json:"promised_cpu_ratio,omitempty"`
	Adds    float64 `json:"promised_cpu_us,omitempty"`
	Library float64 `json:"golang_jwt_cpu_us,omitempty"` // of Adds, what golang-jwt takes
	Latency float64 `json:"promised_p50_us,omitempty"`
	Verdict string  `json:"verdict,omitempty"`
	Limit   float64 `json:"limit_cpu_ratio,omitempty"`

	Heap *heapResult `json:"heap,omitempty"` // where it is counted
}

// spread is a median and the range around it.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// heapResult is what a row allocates, and how much that is more than another row.
type heapResult struct {
	Objects     float64 `json:"objects"`
	Bytes       float64 `json:"bytes"`
	Against     string  `json:"against,omitempty"`
	MoreObjects float64 `json:"more_objects,omitempty"`
	MoreBytes   float64 `json:"more_bytes,omitempty"`
	Verdict     string  `json:"verdict,omitempty"`
}

// summarize turns what was seen in a part into the table's rows.
func summarize(p part, all []measured) []result {
	results := make([]result, len(all))
	at := map[string]int{}
	for i, m := range all {
		at[m.row.Name] = i
		results[i] = figures(m)
		if j, ok := at[m.row.Against]; ok {
			compare(&results[i], results[j], m.turns, all[j].turns)
			results[i].judge(p, m)
		}
		if len(m.heaps) == 0 {
			continue
		}
		results[i].Heap = heapFigures(m)
		if j, ok := at[m.row.HeapAgainst]; ok {
			results[i].Heap.compare(results[j], m.row.Warm)
		}
	}
	return results
}

// figures are a row's own, compared with nothing.
func figures(m measured) result {
	return result{
		Name:      m.row.Name,
		PerSecond: median(each(m.turns, func(t turn) float64 { return t.perSecond })),
		CPU:       spreadOf(each(m.turns, cpuOf)),
		Busy:      median(each(m.turns, func(t turn) float64 { return t.busy })),
		P50:       spreadOf(each(m.turns, p50Of)),
		P99:       median(each(m.turns, func(t turn) float64 { return microseconds(t.p99) })),
		Peak:      slices.Max(append(m.peaks, 0)),
		Limit:     m.row.Limit,
	}
}

func cpuOf(t turn) float64 { return microseconds(t.cpu) }
func p50Of(t turn) float64 { return microseconds(t.p50) }

// compare adds what the row is against another one.
func compare(r *result, other result, own, others []turn) {
	var ratios, more, later []float64
	for i := range own {
		ratios = append(ratios, cpuOf(own[i])/cpuOf(others[i]))
		more = append(more, cpuOf(own[i])-cpuOf(others[i]))
		later = append(later, p50Of(own[i])-p50Of(others[i]))
	}
	r.Against = other.Name
	r.Medians = r.CPU.Median / other.CPU.Median
	r.Paired, r.Lowest = median(ratios), r.CPU.Min/other.CPU.Min
	r.More, r.LowestMore = median(more), r.CPU.Min-other.CPU.Min
	r.Later, r.LowestLate = median(later), r.P50.Min-other.P50.Min
}

// judge holds the row against what is promised for this part: CPU time on one core, and
// latency at a fixed rate.
func (r *result) judge(p part, m measured) {
	promised := m.row
	switch {
	case !p.Pinned:
	case p.Rate && promised.Warm:
		r.Latency = microseconds(latencyPromise)
		r.Verdict = verdict(r.Later, r.LowestLate, r.Latency)
	case p.Rate:
	case promised.Promise > 0:
		r.Promise = promised.Promise
		r.Verdict = verdict(r.Paired, r.Lowest, r.Promise)
	case promised.Adds > 0:
		r.Adds = microseconds(promised.Adds)
		lowest := r.Adds
		if len(m.library) > 0 {
			own := spreadOf(each(m.library, microseconds))
			r.Library, r.Adds, lowest = own.Median, r.Adds+own.Median, lowest+own.Min
		}
		r.Verdict = verdicts(r.More <= r.Adds, r.LowestMore <= lowest)
	}
}

// verdict says whether both figures are within the limit, or which. The first decides.
func verdict(median, lowest, limit float64) string {
	return verdicts(median <= limit, lowest <= limit)
}

func verdicts(median, lowest bool) string {
	switch {
	case median && lowest:
		return "kept"
	case median:
		return "kept (median), missed by the lowest"
	case lowest:
		return "missed (median), kept by the lowest"
	}
	return "missed"
}

func heapFigures(m measured) *heapResult {
	return &heapResult{
		Objects: median(each(m.heaps, func(h perRequest) float64 { return h.objects })),
		Bytes:   median(each(m.heaps, func(h perRequest) float64 { return h.bytes })),
	}
}

// compare adds what the row allocates more than another one, and if it is held to the
// promise, whether it keeps it.
func (h *heapResult) compare(other result, promised bool) {
	h.Against = other.Name
	h.MoreObjects, h.MoreBytes = h.Objects-other.Heap.Objects, h.Bytes-other.Heap.Bytes
	if !promised {
		return
	}
	// objects are counted to a tenth: fractions come from what the process does besides
	objects, bytes := h.MoreObjects < heapPromise.objects+0.5, h.MoreBytes <= heapPromise.bytes
	switch {
	case objects && bytes:
		h.Verdict = "kept"
	case objects:
		h.Verdict = "kept by objects, missed by bytes"
	case bytes:
		h.Verdict = "kept by bytes, missed by objects"
	default:
		h.Verdict = "missed"
	}
}

func spreadOf(figures []float64) spread {
	return spread{median(figures), slices.Min(figures), slices.Max(figures)}
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
