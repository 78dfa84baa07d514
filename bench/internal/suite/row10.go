package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/load"
	"gitsplit/bench/internal/meter"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

// goServices are our processes, as the supervisor names them.
var goServices = []string{"gitaly", "rails-api", "sidekiq", "gitlab-workhorse", "gitlab-sshd"}

// resting is the first half of row 10, on a fresh instance.
func (s *Suite) resting(ctx context.Context, sec *report.Section) error {
	settle(ctx, s.rest())
	s.idle = s.memory()
	memoryTable(sec, "idle, after the start", s.idle)
	sec.AtMost(true, "Go processes idle, in sum, at most 150 MiB", float64(total(s.idle))/(1<<20), 150, " MiB")
	if err := s.idleSessions(ctx, sec); err != nil {
		return err
	}
	return s.runningClones(ctx, sec)
}

func (s *Suite) rest() time.Duration { return time.Duration(s.rounds(10, 3)) * time.Second }

// settle lets the instance come to rest.
func settle(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// memory is the resident memory of our processes, with gitsplit itself.
func (s *Suite) memory() map[string]int64 {
	out := map[string]int64{}
	pids := s.ours.Processes()
	for _, name := range goServices {
		if m, err := meter.MemoryOf(pids[name]); err == nil {
			out[name] = m.RSS
		}
	}
	for _, p := range meter.Tree(pids["gitaly"]) { // the supervisor is the parent of all
		if p.PID == pids["gitaly"] {
			if m, err := meter.MemoryOf(p.Parent); err == nil {
				out["gitsplit"] = m.RSS
			}
		}
	}
	return out
}

func total(m map[string]int64) (sum int64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

func memoryTable(sec *report.Section, title string, m map[string]int64) {
	t := report.Table{Title: title}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		t.Lines = append(t.Lines, report.Line{Who: name, Metric: "resident", Unit: "MiB", Stat: stats.Summarize([]float64{float64(m[name]) / (1 << 20)})})
	}
	t.Lines = append(t.Lines, report.Line{Who: "in sum", Metric: "resident", Unit: "MiB", Stat: stats.Summarize([]float64{float64(total(m)) / (1 << 20)})})
	sec.Tables = append(sec.Tables, t)
}

// perAddress is how many clients come from one address, which may have 64 connections.
const perAddress = 50

// from lets the i-th of many clients come from an address of its own few, as clients do.
func from(shell gitwire.Shell, i int) gitwire.Shell {
	shell.From = fmt.Sprintf("127.0.%d.2", 1+i/perAddress)
	return shell
}

// idleSessions logs in many times and is silent.
func (s *Suite) idleSessions(ctx context.Context, sec *report.Section) error {
	const target = "per idle SSH session at most 100 KiB"
	count := s.rounds(1000, 200)
	var open []*ssh.Client
	defer func() {
		for _, c := range open {
			_ = c.Close() // silent to its end
		}
	}()
	dial := func(i int) error {
		c, err := from(*s.ssh[0].Shell, i).Dial(ctx, nil)
		if err == nil {
			open = append(open, c)
		}
		return err
	}
	for i := range 20 { // what grows once and stays
		if err := dial(i); err != nil {
			sec.Missing(target, err.Error())
			return nil
		}
	}
	settle(ctx, s.rest()/3)
	before := s.memory()
	for i := range count {
		if err := dial(100 + i); err != nil {
			sec.Missing(target, err.Error())
			return nil
		}
	}
	settle(ctx, s.rest())
	after := s.memory()
	sec.AtMost(true, target+fmt.Sprintf(" (%d of them, all services)", count), float64(total(after)-total(before))/float64(count)/1024, 100, " KiB")
	return nil
}

// runningClones stops clones in the middle of the pack and looks at what they hold.
func (s *Suite) runningClones(ctx context.Context, sec *report.Section) error {
	web := plainWeb(s.auth)[0]
	if err := s.place(ctx, "large", fixture.Large(s.Quick), web); err != nil {
		return err
	}
	const count = 20
	before := s.memory()
	var held []io.Closer
	defer func() {
		for _, h := range held {
			_ = h.Close() // broken off in the middle
		}
	}()
	for range count {
		h, err := web.Web("large").Begin(ctx, gitwire.Want{Ref: main})
		if err != nil {
			sec.Note("memory per running clone: %v", err)
			return nil
		}
		held = append(held, h)
	}
	settle(ctx, s.rest())
	after := s.memory()
	t := report.Table{Title: fmt.Sprintf("per running clone of large, of %d whose clients have stopped reading", count)}
	for _, name := range goServices {
		t.Lines = append(t.Lines, report.Line{Who: name, Metric: "resident", Unit: "KiB", Stat: stats.Summarize([]float64{float64(after[name]-before[name]) / count / 1024})})
	}
	sec.Tables = append(sec.Tables, t)
	return nil
}

// afterLoad is the second half of row 10: what is left when the load is over, which has
// lasted ten minutes by then in a full run. Memory is compared at rest between two
// spells of load: what grows for good, grows in both.
func (s *Suite) afterLoad(ctx context.Context, sec *report.Section) error {
	c, err := s.crowd(ctx)
	if err != nil {
		return err
	}
	s.loadBegins()
	spell := time.Duration(s.rounds(60, 10)) * time.Second
	first, err := s.spell(ctx, c, spell)
	if err != nil {
		return err
	}
	rest := time.Duration(s.rounds(600, 30))*time.Second - time.Since(s.loaded)
	second, err := s.spell(ctx, c, max(rest, spell))
	if err != nil {
		return err
	}
	memoryTable(sec, "idle again, after load", second)
	sum := fmt.Sprintf("%.0f MiB in sum after %v of load, %.0f before any", float64(total(second))/(1<<20), time.Since(s.loaded).Round(time.Second), float64(total(s.idle))/(1<<20))
	sec.AtMost(true, "no growth after load: at most 1.1× of before any load", float64(total(second))/float64(total(s.idle)), 1.1, "×")
	sec.AtMost(true, "no growth from one spell of load to the next: at most 1.1×", float64(total(second))/float64(total(first)), 1.1, "×")
	sec.Note("%s", sum)
	return nil
}

// spell runs the mix for 4,000 users for a time, lets the instance rest, and returns its
// memory.
func (s *Suite) spell(ctx context.Context, c *crowd, length time.Duration) (map[string]int64, error) {
	load.Run(ctx, []load.Kind{
		{Name: "API", Rate: 80, Do: c.api}, {Name: "pull", Rate: 8, Do: c.pull}, {Name: "push", Rate: 4, Do: c.push},
	}, length)
	c.client.CloseIdleConnections()
	settle(ctx, time.Duration(s.rounds(45, 35))*time.Second) // half a minute, and the services give memory back
	m := s.memory()
	if len(m) == 0 {
		return nil, errors.New("the instance is gone")
	}
	return m, ctx.Err()
}
