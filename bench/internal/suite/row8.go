package suite

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"gitsplit/bench/internal/fixture"
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
	strict := s.file
	strict.Name = synced
	web := plainWeb(s.auth)[1:] // over HTTP git's client takes its time
	push, err := s.pushRefs(ctx, slices.Concat(remotes, web, []peer.Remote{strict}))
	if err != nil {
		return err
	}
	pairs := func(sides []side) [][2]string {
		return append(against("gitsplit SSH", sides...), against("gitsplit HTTP", sides...)...)
	}
	n := s.rounds(10_000, 1000)
	p := s.turns(ctx, sec, plan{title: fmt.Sprintf("push of %d new branches (git alone has no hooks here)", n), rounds: s.rounds(2, 2), metrics: []metric{wall}, sides: push, pairs: pairs(push)})
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
	f := s.turns(ctx, sec, plan{title: fmt.Sprintf("fetch with nothing new against %d hidden references", many.Hidden), rounds: s.rounds(15, 8), warm: true, metrics: []metric{wall}, sides: fetch, pairs: pairs(fetch)})
	for _, of := range []string{"gitsplit HTTP", "gitsplit SSH"} {
		sec.AtMost(true, fmt.Sprintf("push of %d references, %s within 1.5× of git alone", n, of), ratio(p, of, "file://", wall.name), 1.5, "×")
		sec.AtMost(of == "gitsplit HTTP", fmt.Sprintf("fetch against %d hidden references, %s within 1.5× of git alone", many.Hidden, of), ratio(f, of, "file://", wall.name), 1.5, "×")
	}
	return nil
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
		fmt.Fprintf(&script, "create refs/heads/many/b%05d %s\n", i, r.Tip)
	}
	cmd := s.site.Git(ctx, s.file, "-C", dir, "update-ref", "--stdin")
	cmd.Stdin = strings.NewReader(script.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, failure(cmd, out, err)
	}
	var sides []side
	for _, remote := range remotes {
		name := repoFor("refs", remote)
		if err := s.place(ctx, name, fixture.Small(), remote); err != nil {
			return nil, err
		}
		if remote.Dir != nil {
			if err := os.RemoveAll(filepath.Join(remote.Dir(name), "hooks")); err != nil {
				return nil, err
			}
		}
		if remote.Name == synced {
			cmd := s.site.Git(ctx, remote, "-C", remote.Dir(name), "config", "core.fsync", "objects,derived-metadata,reference")
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, failure(cmd, out, err)
			}
		}
		sides = append(sides, side{remote.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, remote, "-C", dir, "push", "--quiet", remote.URL(name), fmt.Sprintf("refs/heads/many/*:refs/heads/round%d/*", round)))
		}})
	}
	return sides, nil
}
