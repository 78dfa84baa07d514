package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/meter"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

var (
	cpu  = metric{"server CPU", "ms"}
	peak = metric{"largest process", "MiB"}
)

// services are our own programs as the kernel names them, cut at 15 bytes.
var services = []string{"gitaly", "gitlab-sshd", "gitlab-workhors", "rails-api", "sidekiq"}

// clone is row 4.
func (s *Suite) clone(ctx context.Context, sec *report.Section) error {
	remotes := s.everybody()
	type variant struct {
		spec   fixture.Spec
		rounds int
		judged bool
	}
	variants := []variant{{fixture.Large(s.Quick), s.rounds(3, 2), true}, {fixture.Wide(s.Quick), s.rounds(3, 1), false}}
	if s.Local != "" {
		variants = append(variants, variant{fixture.Spec{Name: local}, s.rounds(3, 2), false})
	}
	for _, v := range variants {
		if err := s.place(ctx, v.spec.Name, v.spec, remotes...); err != nil {
			return err
		}
		t, peaks := s.heavy(ctx, sec, "`git clone --bare` of the repository "+v.spec.Name, v.rounds, remotes, func(ctx context.Context, r peer.Remote, wrap string, _ int) *exec.Cmd {
			args := []string{"clone", "--quiet", "--bare"}
			if wrap != "" {
				args = append(args, "--upload-pack="+wrap+" git-upload-pack")
			}
			return s.site.Git(ctx, r, append(args, r.URL(v.spec.Name), s.spare())...)
		})
		if v.judged {
			judge(sec, "clone of large", t, peaks, "file://")
		}
	}
	return s.note(sec, "openssh", "gitolite", "git-http-backend")
}

// everybody is one remote per server and protocol that makes a difference to packs.
func (s *Suite) everybody() []peer.Remote {
	out := append(append([]peer.Remote{}, s.ssh...), plainWeb(s.auth)...)
	return append(out, s.file)
}

// spare is where a clone goes that is removed at once.
func (s *Suite) spare() string { return filepath.Join(s.site.Home, "spare.git") }

// heavy measures a command that moves much: its time, what the server computes for it,
// and how large the server's processes get. make gets a program to put around git's
// server side where that is a child of the client. The peaks are those of our services.
func (s *Suite) heavy(ctx context.Context, sec *report.Section, title string, rounds int, remotes []peer.Remote,
	make func(ctx context.Context, r peer.Remote, wrap string, round int) *exec.Cmd,
) (report.Table, map[string]int64) {
	peaks := map[string]int64{}
	var spentBy shares
	var sides []side
	for _, r := range remotes {
		sides = append(sides, side{r.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			used, wrap := filepath.Join(s.site.Home, "used"), ""
			if len(r.Server.Roots()) == 0 {
				wrap = s.Self + " -meter " + used
			}
			cmd := make(ctx, r, wrap, round)
			w := meter.Start(ctx, r.Server.CPU, r.Server.Roots()...)
			got, err := timed(cmd)
			spent, now := w.Stop()
			if strings.HasPrefix(r.Name, "gitsplit") && err == nil {
				spentBy.add(r.Name, w.By(spent))
			}
			err = errors.Join(err, os.RemoveAll(s.spare()))
			if err != nil {
				return nil, err
			}
			if wrap != "" {
				u, err := meter.ReadUsed(used)
				if err != nil {
					return nil, err
				}
				spent, now = u.CPU, map[string]int64{"git": u.Peak}
			}
			if strings.HasPrefix(r.Name, "gitsplit") {
				for _, name := range services {
					peaks[name] = max(peaks[name], now[name])
				}
			}
			got[cpu.name], got[peak.name] = ms(spent), float64(slices.Max(slices.Collect(maps.Values(now))))/(1<<20)
			return got, nil
		}})
	}
	pairs := append(against("gitsplit SSH", sides...), against("gitsplit HTTP", sides...)...)
	s.loadBegins()
	t := s.turns(ctx, sec, plan{title: title, rounds: rounds, metrics: []metric{wall, cpu, peak}, sides: sides, pairs: pairs})
	for _, line := range spentBy.lines() {
		sec.Note("%s: server CPU of %s", title, line)
	}
	sec.Note("%s: peak memory of our services: %s", title, mib(peaks))
	return t, peaks
}

func (s *Suite) loadBegins() {
	if s.loaded.IsZero() {
		s.loaded = time.Now()
	}
}

// judge compares with the floor: git alone.
func judge(sec *report.Section, what string, t report.Table, peaks map[string]int64, floor string) {
	for _, of := range []string{"gitsplit HTTP", "gitsplit SSH"} {
		protocol := strings.TrimPrefix(of, "gitsplit ")
		sec.AtMost(true, fmt.Sprintf("%s over %s: time at most 1.05× `%s`", what, protocol, floor), ratio(t, of, floor, wall.name), 1.05, "×")
		sec.AtMost(true, fmt.Sprintf("%s over %s: server CPU at most 1.1× `%s`", what, protocol, floor), ratio(t, of, floor, cpu.name), 1.1, "×")
	}
	most := math.NaN()
	if len(peaks) > 0 {
		most = float64(slices.Max(slices.Collect(maps.Values(peaks)))) / (1 << 20)
	}
	sec.AtMost(true, what+": each of our services within 100 MiB", most, 100, " MiB")
}

// mib lists amounts of memory.
func mib(bytes map[string]int64) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(bytes)) {
		out = append(out, fmt.Sprintf("%s %.0f MiB", name, float64(bytes[name])/(1<<20)))
	}
	return strings.Join(out, ", ")
}

// shares is processor time by program, of each participant.
type shares map[string]map[string][]float64

func (s *shares) add(who string, by map[string]time.Duration) {
	if *s == nil {
		*s = shares{}
	}
	if (*s)[who] == nil {
		(*s)[who] = map[string][]float64{}
	}
	for name, d := range by {
		(*s)[who][name] = append((*s)[who][name], ms(d))
	}
}

// lines say for each participant what its programs have used on average.
func (s shares) lines() (out []string) {
	for _, who := range slices.Sorted(maps.Keys(s)) {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(s[who])) {
			sum := 0.0
			for _, x := range s[who][name] {
				sum += x
			}
			if mean := sum / float64(len(s[who][name])); mean >= 1 {
				parts = append(parts, fmt.Sprintf("%s %.0f ms", name, mean))
			}
		}
		out = append(out, who+": "+strings.Join(parts, ", "))
	}
	return out
}
