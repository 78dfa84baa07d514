package gobench_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/bench/internal/gobench"
)

func TestParse(t *testing.T) {
	t.Parallel()
	const text = "goos: linux\nBenchmarkHook/asks-2   \t 200\t 4510000 ns/op\t 3.5 cpu-ms/op\t 100 B/op\t 7 allocs/op\nBenchmarkHook/asks-2 200 5000000 ns/op\nBenchmarkOdd\nPASS\n"
	want := gobench.Lines{"BenchmarkHook/asks": {
		{"ns/op": 4510000, "cpu-ms/op": 3.5, "B/op": 100, "allocs/op": 7},
		{"ns/op": 5000000},
	}}
	if diff := cmp.Diff(want, gobench.Parse(text)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
