package suite

import (
	"context"
	"path/filepath"

	"gitsplit/bench/internal/gobench"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

// relay is row 13: the relays' own benchmarks, put per MiB. They run both ends, with a
// gitaly that has the pack ready or throws it away.
func (s *Suite) relay(ctx context.Context, sec *report.Section) error {
	for _, v := range []struct {
		dir, pkg, match string
		mib             float64 // of one operation
	}{
		{"kit", "./gitalyclient", "UploadPack|ReceivePack", 64},
		{"services/workhorse", "./internal/app", "BenchmarkUploadPack|BenchmarkReceivePack", 256},
	} {
		lines, err := gobench.Run(ctx, filepath.Join(s.Root, v.dir), v.pkg, v.match, s.length(), s.rounds(3, 1))
		if err != nil {
			sec.Note("%s: %v", v.dir, err)
			continue
		}
		t := report.Table{Title: v.dir + v.pkg[1:] + ", both ends"}
		for name, runs := range lines {
			for _, m := range []struct{ unit, shown string }{{"ns/op", "µs/MiB"}, {"B/op", "KiB/MiB"}, {"allocs/op", "allocations/MiB"}} {
				var xs []float64
				for _, r := range runs {
					xs = append(xs, r[m.unit]/v.mib/map[string]float64{"ns/op": 1000, "B/op": 1024, "allocs/op": 1}[m.unit])
				}
				t.Lines = append(t.Lines, report.Line{Who: name, Metric: m.shown[:len(m.shown)-4], Unit: m.shown, Stat: stats.Summarize(xs)})
			}
		}
		sec.Tables = append(sec.Tables, t)
	}
	return ctx.Err()
}

// length is how long a benchmark of Go's runs.
func (s *Suite) length() string {
	if s.Quick {
		return "3x"
	}
	return "10x"
}
