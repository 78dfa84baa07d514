// Package stats puts samples in few numbers that outliers do not move: medians,
// quartiles and the median absolute deviation. Ratios are taken pair by pair, of what
// was measured in the same round, so that what the machine does to a round it does to
// both.
package stats

import (
	"math"
	"slices"
)

// Summary describes samples. All is zero for none.
type Summary struct {
	N      int     `json:"n"`
	Median float64 `json:"median"`
	Q1     float64 `json:"q1"`
	Q3     float64 `json:"q3"`
	MAD    float64 `json:"mad"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summarize describes xs, which it leaves as they are.
func Summarize(xs []float64) Summary {
	if len(xs) == 0 {
		return Summary{}
	}
	s := slices.Sorted(slices.Values(xs))
	m := quantile(s, 0.5)
	away := make([]float64, len(s))
	for i, x := range s {
		away[i] = math.Abs(x - m)
	}
	slices.Sort(away)
	return Summary{
		N: len(s), Median: m, Q1: quantile(s, 0.25), Q3: quantile(s, 0.75),
		MAD: quantile(away, 0.5), Min: s[0], Max: s[len(s)-1],
	}
}

// Quantile returns the q-quantile of xs, 0 ≤ q ≤ 1, and 0 for no samples.
func Quantile(xs []float64, q float64) float64 {
	if len(xs) == 0 {
		return 0
	}
	return quantile(slices.Sorted(slices.Values(xs)), q)
}

// quantile interpolates between the neighbours, as most statistics programs do (type 7).
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Ratios divides a by b, pair by pair, as far as both go. Pairs with a zero in b,
// and those where either is NaN, a sample that failed, are left out.
func Ratios(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		if b[i] != 0 && !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			out = append(out, a[i]/b[i])
		}
	}
	return out
}

// Valid leaves out failed samples.
func Valid(xs []float64) []float64 {
	return slices.DeleteFunc(slices.Clone(xs), math.IsNaN)
}
