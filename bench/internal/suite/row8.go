package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// synced is git alone with the syncs of references that gitaly has it make.
const synced = "file:// with synced references"

// manyRefs is row 8.
func (s *Suite) manyRefs(ctx context.Context, sec *report.Section) error {
	remotes := []peer.Remote{s.ssh[0], plainWeb(s.auth)[0], s.file}
	many := fixture.Many(s.Quick)
	if err := s.place(ctx, many.Name, many, remotes...); err != nil {
		return err
	}
	if err := s.pushesOfMany(ctx, sec); err != nil {
		return err
	}
	dir := filepath.Join(s.site.Home, "many.git")
	if err := fixture.Client(ctx, s.repos[many.Name], dir); err != nil {
		return err
	}
	var fetch []side
	for _, r := range remotes {
		fetch = append(fetch, side{r.Name, func(ctx context.Context, _ int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, r, "-C", dir, "fetch", "--quiet", r.URL(many.Name), main))
		}})
	}
	f := s.turns(ctx, sec, plan{
		title: fmt.Sprintf("fetch with nothing new against %d hidden references", many.Hidden), rounds: s.rounds(15, 8), warm: true, metrics: []metric{wall},
		sides: fetch, pairs: append(against("gitsplit SSH", fetch...), against("gitsplit HTTP", fetch...)...),
	})
	for _, of := range []string{"gitsplit HTTP", "gitsplit SSH"} {
		sec.AtMost(of == "gitsplit HTTP", fmt.Sprintf("fetch against %d hidden references, %s within 1.5× of git alone", many.Hidden, of), ratio(f, of, "file://", wall.name), 1.5, "×")
	}
	return s.note(sec, "git-http-backend")
}

// pushesOfMany pushes many new branches at once. Over HTTP the client's git compares
// each with each before it asks, which takes it a minute and more with any server: so
// servers are measured without it, and with it once.
func (s *Suite) pushesOfMany(ctx context.Context, sec *report.Section) error {
	n := s.rounds(10_000, 1000)
	title := fmt.Sprintf("push of %d new branches", n)
	strict := s.file
	strict.Name = synced
	web := plainWeb(s.auth)
	direct, err := s.pushRefs(ctx, []peer.Remote{s.ssh[0], s.file, strict})
	if err != nil {
		return err
	}
	d := s.turns(ctx, sec, plan{title: title + ", `git push` over SSH", rounds: s.rounds(3, 2), metrics: []metric{wall}, sides: direct, pairs: against("gitsplit SSH", direct...)})
	bare, err := s.sendRefs(ctx, append(slices.Clone(web), s.file, strict), n)
	if err != nil {
		return err
	}
	b := s.turns(ctx, sec, plan{title: title + " over HTTP, no git at the client", rounds: s.rounds(3, 2), metrics: []metric{wall}, sides: bare, pairs: against("gitsplit HTTP", bare...)})
	whole, err := s.pushRefs(ctx, web)
	if err != nil {
		return err
	}
	w := s.turns(ctx, sec, plan{title: title + ", `git push` over HTTP", rounds: 1, metrics: []metric{wall}, sides: whole, pairs: against("gitsplit HTTP", whole...)})
	sec.AtMost(true, title+" over SSH within 1.5× of git alone", ratio(d, "gitsplit SSH", "file://", wall.name), 1.5, "×")
	sec.AtMost(true, title+" over HTTP within 1.5× of git alone, no git at the client", ratio(b, "gitsplit HTTP", "file://", wall.name), 1.5, "×")
	sec.AtMost(false, title+", `git push` over HTTP within 1.5× of git alone", median(w, "gitsplit HTTP", wall.name)/median(d, "file://", wall.name), 1.5, "×")
	return nil
}

// sendRefs prepares pushes of n branches without a git at the client.
func (s *Suite) sendRefs(ctx context.Context, remotes []peer.Remote, n int) ([]side, error) {
	r, err := s.repo(ctx, fixture.Small())
	if err != nil {
		return nil, err
	}
	var sides []side
	for _, remote := range remotes {
		name, err := s.refsRepo(ctx, "sent", remote)
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{remote.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			push := gitwire.Push{Pack: fixture.EmptyPack()}
			for i := range n {
				push.Updates = append(push.Updates, gitwire.Update{Ref: fmt.Sprintf("refs/heads/round%d/b%05d", round, i), Old: strings.Repeat("0", len(r.Tip)), New: r.Tip})
			}
			began := time.Now()
			err := pushOn(ctx, remote, nil, name, push)
			return map[string]float64{wall.name: ms(time.Since(began))}, err
		}})
	}
	return sides, nil
}

// refsRepo places a repository without hooks, if they are the peer's; it returns its name.
func (s *Suite) refsRepo(ctx context.Context, purpose string, remote peer.Remote) (string, error) {
	name := repoFor(purpose, remote)
	if err := s.place(ctx, name, fixture.Small(), remote); err != nil {
		return "", err
	}
	if remote.Dir != nil {
		if err := os.RemoveAll(filepath.Join(remote.Dir(name), "hooks")); err != nil {
			return "", err
		}
	}
	if remote.Name == synced {
		cmd := s.site.Git(ctx, remote, "-C", remote.Dir(name), "config", "core.fsync", "objects,derived-metadata,reference")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", failure(cmd, out, err)
		}
	}
	return name, nil
}

// pushRefs prepares pushes of many branches at once, to other names in each round.
func (s *Suite) pushRefs(ctx context.Context, remotes []peer.Remote) ([]side, error) {
	r, err := s.repo(ctx, fixture.Small())
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.site.Home, "refs.git")
	if err := fixture.Client(ctx, r, dir); err != nil {
		return nil, err
	}
	var script strings.Builder
	for i := range s.rounds(10_000, 1000) {
		fmt.Fprintf(&script, "update refs/heads/many/b%05d %s\n", i, r.Tip)
	}
	cmd := s.site.Git(ctx, s.file, "-C", dir, "update-ref", "--stdin")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, failure(cmd, out, err)
	}
	var sides []side
	for _, remote := range remotes {
		name, err := s.refsRepo(ctx, "refs", remote)
		if err != nil {
			return nil, err
		}
		sides = append(sides, side{remote.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, remote, "-C", dir, "push", "--quiet", remote.URL(name), fmt.Sprintf("refs/heads/many/*:refs/heads/round%d/*", round)))
		}})
	}
	return sides, nil
}
