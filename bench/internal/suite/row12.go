package suite

import (
	"context"
	"errors"
	"fmt"

	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

// starts is row 12: how long `gitsplit up` takes until everything is ready, with
// nothing there, and with the data of a run before.
func (s *Suite) starts(ctx context.Context, sec *report.Section) error {
	var cold, warm []float64
	for i := range s.rounds(5, 2) {
		home := s.home(fmt.Sprintf("start%d", i))
		for _, times := range []*[]float64{&cold, &warm} {
			o, err := peer.Up(ctx, s.site, s.Bin, home)
			if err != nil {
				return err
			}
			*times = append(*times, ms(o.StartLag))
			if err := o.Close(); err != nil {
				return err
			}
		}
	}
	sec.Tables = append(sec.Tables, report.Table{Title: "`gitsplit up`, from exec to ready", Lines: []report.Line{
		{Who: "cold", Metric: "time", Unit: "ms", Stat: stats.Summarize(cold)}, {Who: "warm", Metric: "time", Unit: "ms", Stat: stats.Summarize(warm)},
	}})
	sec.AtMost(true, "warm to ready at most 3 s", stats.Summarize(warm).Median/1000, 3, " s")
	return errors.Join(ctx.Err())
}
