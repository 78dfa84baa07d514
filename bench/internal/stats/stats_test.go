package stats_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/bench/internal/stats"
)

func TestSummarize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   []float64
		want stats.Summary
	}{
		{name: "nothing"},
		{name: "one sample", in: []float64{3}, want: stats.Summary{N: 1, Median: 3, Q1: 3, Q3: 3, Min: 3, Max: 3}},
		{name: "an outlier", in: []float64{5, 1, 2, 1000, 3}, want: stats.Summary{N: 5, Median: 3, Q1: 2, Q3: 5, MAD: 2, Min: 1, Max: 1000}},
		{name: "between two", in: []float64{4, 1, 3, 2}, want: stats.Summary{N: 4, Median: 2.5, Q1: 1.75, Q3: 3.25, MAD: 1, Min: 1, Max: 4}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, stats.Summarize(tc.in)); diff != "" {
				t.Errorf("Summarize(%v) (-want +got)\n%s", tc.in, diff)
			}
		})
	}
}

func TestRatios(t *testing.T) {
	t.Parallel()
	got := stats.Ratios([]float64{2, 9, math.NaN(), 3, 8}, []float64{4, 3, 1, 0})
	if diff := cmp.Diff([]float64{0.5, 3}, got); diff != "" {
		t.Errorf("pairs that are whole (-want +got)\n%s", diff)
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	xs := []float64{10, 20, 30, 40, 50}
	for q, want := range map[float64]float64{0: 10, 0.5: 30, 0.9: 46, 1: 50} {
		if got := stats.Quantile(xs, q); math.Abs(got-want) > 1e-9 {
			t.Errorf("Quantile(%v) = %v, want %v", q, got, want)
		}
	}
	if got := stats.Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}
