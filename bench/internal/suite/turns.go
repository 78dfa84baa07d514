package suite

import (
	"cmp"
	"context"
	"math"
	"os/exec"
	"slices"
	"time"

	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

// side takes part in a measurement. do returns one sample of each metric.
type side struct {
	name string
	do   func(ctx context.Context, round int) (map[string]float64, error)
}

// metric is what a sample holds; the first metrics of a plan come first in tables.
type metric struct{ name, unit string }

var wall = metric{"time", "ms"}

// plan is one measurement by turns.
type plan struct {
	title   string
	rounds  int
	warm    bool // the first round does not count
	metrics []metric
	sides   []side
	pairs   [][2]string // whose ratios are shown: first ÷ second
}

// turns lets the sides take turns, beginning with another one each round, and sums up.
// A side that fails is shown with its number of failures and the first error as a note.
func (s *Suite) turns(ctx context.Context, sec *report.Section, p plan) report.Table {
	if s.profiled != nil {
		s.profiled()
	}
	samples := map[string]map[string][]float64{}
	failed := map[string]int{}
	for _, d := range p.sides {
		samples[d.name] = map[string][]float64{}
	}
	first := 0
	if p.warm {
		first = -1
	}
	for round := first; round < p.rounds && ctx.Err() == nil; round++ {
		for i := range p.sides {
			d := p.sides[(i+max(round, 0))%len(p.sides)]
			got, err := d.do(ctx, round)
			if err != nil {
				if failed[d.name] == 0 {
					sec.Note("%s, %s: %v", p.title, d.name, err)
				}
				failed[d.name]++
			}
			if round < 0 {
				continue
			}
			for _, m := range p.metrics {
				x, ok := got[m.name]
				if err != nil || !ok {
					x = math.NaN()
				}
				samples[d.name][m.name] = append(samples[d.name][m.name], x)
			}
		}
	}
	t := p.table(samples, failed)
	sec.Tables = append(sec.Tables, t)
	return t
}

func (p plan) table(samples map[string]map[string][]float64, failed map[string]int) report.Table {
	t := report.Table{Title: p.title}
	for _, d := range p.sides {
		for _, m := range p.metrics {
			if xs := stats.Valid(samples[d.name][m.name]); len(xs) > 0 || failed[d.name] > 0 {
				t.Lines = append(t.Lines, report.Line{Who: d.name, Metric: m.name, Unit: m.unit, Stat: stats.Summarize(xs), Failed: failed[d.name]})
			}
		}
	}
	for _, pair := range p.pairs {
		for _, m := range p.metrics {
			if r := stats.Ratios(samples[pair[0]][m.name], samples[pair[1]][m.name]); len(r) > 0 {
				t.Ratios = append(t.Ratios, report.Ratio{Of: pair[0], To: pair[1], Metric: m.name, Stat: stats.Summarize(r)})
			}
		}
	}
	return t
}

// against pairs one side with each of the others.
func against(of string, others ...side) [][2]string {
	var out [][2]string
	for _, d := range others {
		if d.name != of {
			out = append(out, [2]string{of, d.name})
		}
	}
	return out
}

// rounds is n in a full run, fewer in a quick one.
func (s *Suite) rounds(n, quick int) int {
	if s.Quick {
		return quick
	}
	return n
}

// timed runs a command and returns its time.
func timed(cmd *exec.Cmd) (map[string]float64, error) {
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, failure(cmd, out, err)
	}
	return map[string]float64{wall.name: ms(time.Since(began))}, nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// ratio returns a table's ratio of a metric, or NaN.
func ratio(t report.Table, of, to, metric string) float64 {
	if r, ok := t.Ratio(of, to, metric); ok {
		return r.Median
	}
	return math.NaN()
}

// median returns a table's number, or NaN.
func median(t report.Table, who, metric string) float64 {
	if l, ok := t.Line(who, metric); ok {
		return l.Median
	}
	return math.NaN()
}

func sorted(sections []*report.Section) []*report.Section {
	slices.SortStableFunc(sections, func(a, b *report.Section) int { return cmp.Compare(a.Row, b.Row) })
	return sections
}

func (s *Suite) wanted(row int) bool { return len(s.Rows) == 0 || slices.Contains(s.Rows, row) }
