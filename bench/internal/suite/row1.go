package suite

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

const main = "refs/heads/main"

// lsRemoteSSH is row 1.
func (s *Suite) lsRemoteSSH(ctx context.Context, sec *report.Section) error {
	all := append(append([]peer.Remote{}, s.ssh...), s.file)
	list, fetch, err := s.reading(ctx, all)
	if err != nil {
		return err
	}
	ours := s.ssh[0].Name
	n := s.rounds(30, 8)
	t := s.turns(ctx, sec, plan{title: "`git ls-remote`, OpenSSH's client", rounds: n, warm: true, metrics: []metric{wall}, sides: list, pairs: against(ours, list...)})
	f := s.turns(ctx, sec, plan{title: "`git fetch` with nothing new", rounds: n, warm: true, metrics: []metric{wall}, sides: fetch, pairs: against(ours, fetch...)})
	p := s.phases(ctx, sec, n)
	if why := s.absent["openssh"]; why != nil {
		sec.Missing("at most 0.6× OpenSSH's time", why.Error())
	} else {
		sec.AtMost(true, "`ls-remote` over SSH, at most 0.6× OpenSSH's time", ratio(t, ours, "openssh", wall.name), 0.6, "×")
		sec.AtMost(false, "no-op fetch over SSH, at most 0.6× OpenSSH's time", ratio(f, ours, "openssh", wall.name), 0.6, "×")
	}
	sec.AtMost(true, "SSH: at most 12 ms beyond the key exchange", median(p, ours, "beyond exchange"), 12, " ms")
	return s.note(sec, "openssh", "gitolite")
}

// note says which peers are missing, and why.
func (s *Suite) note(sec *report.Section, names ...string) error {
	for _, name := range names {
		if err := s.absent[name]; err != nil {
			sec.Note("%s is not there: %v", name, err)
		}
	}
	return nil
}

// reading prepares ls-remote of the tiny repository and no-op fetches of the small one.
func (s *Suite) reading(ctx context.Context, remotes []peer.Remote) (list, fetch []side, err error) {
	if err := s.place(ctx, "tiny", fixture.Tiny(), remotes...); err != nil {
		return nil, nil, err
	}
	if err := s.place(ctx, "small", fixture.Small(), remotes...); err != nil {
		return nil, nil, err
	}
	dir := filepath.Join(s.site.Home, fmt.Sprintf("fetch-%d", time.Now().UnixNano()))
	if err := fixture.Client(ctx, s.repos["small"], dir); err != nil {
		return nil, nil, err
	}
	for _, r := range remotes {
		list = append(list, side{r.Name, func(ctx context.Context, _ int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, r, "ls-remote", r.URL("tiny")))
		}})
		fetch = append(fetch, side{r.Name, func(ctx context.Context, _ int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, r, "-C", dir, "fetch", "--quiet", r.URL("small"), main))
		}})
	}
	return list, fetch, nil
}

// phases measures the parts of an ls-remote with a client of ours, the same for all
// servers.
func (s *Suite) phases(ctx context.Context, sec *report.Section, rounds int) report.Table {
	var sides []side
	for _, r := range s.ssh {
		sides = append(sides, side{r.Name, func(ctx context.Context, _ int) (map[string]float64, error) {
			return phased(ctx, *r.Shell, r.Path("tiny"))
		}})
	}
	metrics := []metric{
		{"key exchange", "ms"}, {"key look-up", "ms"}, {"signature", "ms"}, {"access and git's start", "ms"}, {"references and end", "ms"},
		{"beyond exchange", "ms"},
	}
	return s.turns(ctx, sec, plan{title: "`ls-remote` by phase", rounds: rounds, warm: true, metrics: metrics, sides: sides, pairs: against(s.ssh[0].Name, sides...)})
}

func phased(ctx context.Context, shell gitwire.Shell, path string) (map[string]float64, error) {
	var ph gitwire.Phases
	began := time.Now()
	c, err := shell.Dial(ctx, &ph)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // the command has ended
	p, err := gitwire.Command(c, "git-upload-pack '"+path+"'")
	if err != nil {
		return nil, err
	}
	if _, err := gitwire.List(p, main); err != nil {
		return nil, err
	}
	if err := p.Wait(); err != nil {
		return nil, err
	}
	end, first := time.Since(began), p.First().Sub(began)
	return map[string]float64{
		"key exchange": ms(ph.Exchange), "key look-up": ms(ph.Key - ph.Exchange), "signature": ms(ph.Login - ph.Key),
		"access and git's start": ms(first - ph.Login), "references and end": ms(end - first), "beyond exchange": ms(end - ph.Exchange),
	}, nil
}
