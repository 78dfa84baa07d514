package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/meter"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// packing is what `git pack-objects` computes for our instance, by gitaly's count.
var packing = metric{"pack-objects CPU", "ms"}

// storm is row 6: identical clones at once, by clients that throw the pack away.
func (s *Suite) storm(ctx context.Context, sec *report.Section) error {
	remotes := s.everybody()
	for _, spec := range []fixture.Spec{fixture.Small(), fixture.Large(s.Quick)} {
		if err := s.place(ctx, spec.Name, spec, remotes...); err != nil {
			return err
		}
	}
	s.loadBegins()
	most := s.rounds(100, 40)
	counts, whole := []int{20, most}, []int{10}
	if s.Quick {
		counts, whole = counts[1:], nil
	}
	for _, v := range []struct {
		repo    string
		shallow bool
		rounds  int
		counts  []int
	}{{"small", false, s.rounds(2, 1), counts}, {"large", true, 1, counts}, {"large", false, 1, whole}} {
		for _, n := range v.counts {
			s.storms(ctx, sec, remotes, v.repo, v.shallow, v.rounds, n)
		}
	}
	s.judgeStorm(ctx, sec, most)
	return s.note(sec, "openssh", "gitolite", "git-http-backend")
}

func (s *Suite) storms(ctx context.Context, sec *report.Section, remotes []peer.Remote, repo string, shallow bool, rounds, n int) {
	kind := "full"
	if shallow {
		kind = "shallow"
	}
	var sides []side
	for _, r := range remotes {
		sides = append(sides, side{r.Name, func(ctx context.Context, _ int) (map[string]float64, error) {
			return s.atOnce(ctx, r, repo, shallow, n)
		}})
	}
	s.turns(ctx, sec, plan{
		title: fmt.Sprintf("%d %s clones of %s at once: time to the last", n, kind, repo), rounds: rounds, metrics: []metric{wall, cpu, packing}, sides: sides,
		pairs: append(against("gitsplit SSH", sides...), against("gitsplit HTTP", sides...)...),
	})
}

// atOnce makes n clones at once.
func (s *Suite) atOnce(ctx context.Context, r peer.Remote, repo string, shallow bool, n int) (map[string]float64, error) {
	packed, err := s.packCPU(ctx)
	if err != nil {
		return nil, err
	}
	before, began := r.Server.CPU(), time.Now()
	g, all := errgroup.WithContext(ctx)
	spent := make([]time.Duration, n)
	for i := range n {
		g.Go(func() (err error) {
			spent[i], err = s.fetchOnce(all, r, repo, gitwire.Want{Ref: main, Shallow: shallow}, i)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	got := map[string]float64{wall.name: ms(time.Since(began)), cpu.name: ms(r.Server.CPU() - before)}
	for _, d := range spent {
		got[cpu.name] += ms(d)
	}
	if r.Server == s.ours {
		now, err := s.packCPU(ctx)
		if err != nil {
			return nil, err
		}
		got[packing.name] = now - packed
	}
	return got, nil
}

// fetchOnce fetches over what the remote speaks and throws the pack away. For a local
// path it returns what git has used, which no server accounts for.
func (s *Suite) fetchOnce(ctx context.Context, r peer.Remote, repo string, w gitwire.Want, i int) (time.Duration, error) {
	switch {
	case r.Web != nil:
		_, err := r.Web(repo).Fetch(ctx, w)
		return 0, err
	case r.Shell != nil:
		shell := from(*r.Shell, i)
		r.Shell = &shell
		return 0, fetchSSH(ctx, r, repo, w)
	}
	used := filepath.Join(s.site.Home, fmt.Sprintf("used-%d", i))
	p, err := gitwire.Start(ctx, s.Self, "-meter", used, "git", "upload-pack", r.Dir(repo))
	if err != nil {
		return 0, err
	}
	if _, err := gitwire.Fetch(p, w); err != nil {
		return 0, errors.Join(err, p.CloseWrite())
	}
	if err := p.Wait(); err != nil {
		return 0, err
	}
	u, err := meter.ReadUsed(used)
	return u.CPU, err
}

func fetchSSH(ctx context.Context, r peer.Remote, repo string, w gitwire.Want) error {
	path := repo + ".git" // as gitolite has it
	if r.Path != nil {
		path = r.Path(repo)
	}
	c, err := r.Shell.Dial(ctx, nil)
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // the command has ended
	p, err := gitwire.Command(c, "git-upload-pack '"+path+"'")
	if err != nil {
		return err
	}
	if _, err := gitwire.Fetch(p, w); err != nil {
		return err
	}
	return p.Wait()
}

// judgeStorm compares git's processor time for the packs of one clone and of many. One clone comes
// first, in a repository that no cache knows.
func (s *Suite) judgeStorm(ctx context.Context, sec *report.Section, n int) {
	web := plainWeb(s.auth)[0]
	for _, v := range []struct {
		repo    string
		shallow bool
	}{{"small", false}, {"large", true}} {
		name := fmt.Sprintf("storm-%s-%d", v.repo, n)
		target := fmt.Sprintf("%d identical clones of %s (shallow: %v): pack-objects CPU at most 2× that of one", n, v.repo, v.shallow)
		spec := s.repos[v.repo]
		if err := errors.Join(web.Server.Place(ctx, name+"-a", spec), web.Server.Place(ctx, name+"-b", spec)); err != nil {
			sec.Missing(target, err.Error())
			continue
		}
		one, err1 := s.atOnce(ctx, web, name+"-a", v.shallow, 1)
		many, err2 := s.atOnce(ctx, web, name+"-b", v.shallow, n)
		if err := errors.Join(err1, err2); err != nil {
			sec.Missing(target, err.Error())
			continue
		}
		sec.AtMost(true, target, many[packing.name]/one[packing.name], 2, "×")
	}
}
