package suite

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// smallPush is row 3.
func (s *Suite) smallPush(ctx context.Context, sec *report.Section) error {
	r, err := s.repo(ctx, fixture.Small())
	if err != nil {
		return err
	}
	n := s.rounds(25, 6)
	pushes, err := fixture.Chain(ctx, r, n+1)
	if err != nil {
		return err
	}
	remotes := append(append([]peer.Remote{}, s.ssh...), plainWeb(s.auth)...)
	remotes = append(remotes, s.file)
	sides, err := s.gitPushes(ctx, r, pushes, remotes)
	if err != nil {
		return err
	}
	pairs := append(against("gitsplit SSH", sides...), against("gitsplit HTTP", sides...)...)
	t := s.turns(ctx, sec, plan{title: "`git push` of one commit", rounds: n, warm: true, metrics: []metric{wall}, sides: sides, pairs: pairs})
	kept, end, err := s.keptPushes(ctx, pushes, remotes)
	if err != nil {
		return err
	}
	k := s.turns(ctx, sec, plan{
		title: "the same push on a connection that is kept, no git at the client", rounds: n, warm: true, metrics: []metric{wall}, sides: kept,
		pairs: append(against("gitsplit SSH", kept...), against("gitsplit HTTP", kept...)...),
	})
	if err := end(); err != nil {
		return err
	}
	sec.AtMost(true, "small push over HTTP on a kept connection, at most 2.5× `file://` with three no-op hooks", ratio(k, "gitsplit HTTP", "file://", wall.name), 2.5, "×")
	sec.AtMost(false, "over SSH the same without the handshake", ratio(k, "gitsplit SSH", "file://", wall.name), 2.5, "×")
	sec.AtMost(false, "`git push` over HTTP, whole, at most 2.5× `file://`", ratio(t, "gitsplit HTTP", "file://", wall.name), 2.5, "×")
	s.processes(ctx, sec)
	return s.note(sec, "openssh", "gitolite", "git-http-backend")
}

// plainWeb leaves out HTTPS.
func plainWeb(remotes []peer.Remote) (out []peer.Remote) {
	for _, r := range remotes {
		if strings.HasSuffix(r.Name, " HTTP") {
			out = append(out, r)
		}
	}
	return out
}

// repoFor names the repository that only this remote pushes to.
func repoFor(purpose string, r peer.Remote) string {
	return purpose + "-" + strings.NewReplacer(" ", "-", "://", "").Replace(strings.ToLower(r.Name))
}

// gitPushes prepares pushes by git itself, all from one repository that has the commits.
func (s *Suite) gitPushes(ctx context.Context, r fixture.Repo, pushes []fixture.Push, remotes []peer.Remote) ([]side, error) {
	dir := filepath.Join(s.site.Home, "push.git")
	if err := errors.Join(fixture.Client(ctx, r, dir), fixture.Unpack(ctx, dir, pushes)); err != nil {
		return nil, err
	}
	var out []side
	for _, remote := range remotes {
		name := repoFor("push", remote)
		if err := s.place(ctx, name, fixture.Small(), remote); err != nil {
			return nil, err
		}
		out = append(out, side{remote.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			return timed(s.site.Git(ctx, remote, "-C", dir, "push", "--quiet", remote.URL(name), pushes[round+1].New+":"+main))
		}})
	}
	return out, nil
}

// keptPushes prepares pushes without a git at the client, on connections that stay open
// from round to round until end is called.
func (s *Suite) keptPushes(ctx context.Context, pushes []fixture.Push, remotes []peer.Remote) (out []side, end func() error, err error) {
	var open []*ssh.Client
	end = func() error {
		for _, c := range open {
			_ = c.Close() // nothing runs on it
		}
		return nil
	}
	for _, r := range remotes {
		if r.Path == nil && r.Web == nil && r.Dir == nil {
			continue
		}
		name := repoFor("kept", r)
		if err := s.place(ctx, name, fixture.Small(), r); err != nil {
			return nil, end, errors.Join(err, end())
		}
		var c *ssh.Client
		if r.Shell != nil {
			if c, err = r.Shell.Dial(ctx, nil); err != nil {
				return nil, end, errors.Join(err, end())
			}
			open = append(open, c)
		}
		out = append(out, side{r.Name, func(ctx context.Context, round int) (map[string]float64, error) {
			began := time.Now()
			p := pushes[round+1]
			err := pushOn(ctx, r, c, name, gitwire.Move(main, p.Old, p.New, p.Pack))
			return map[string]float64{wall.name: ms(time.Since(began))}, err
		}})
	}
	return out, end, nil
}

// pushOn pushes over what the remote speaks: HTTP, an open SSH connection, or a local process.
func pushOn(ctx context.Context, r peer.Remote, c *ssh.Client, name string, u gitwire.Push) error {
	var p interface {
		gitwire.Pipe
		Wait() error
	}
	var err error
	switch {
	case r.Web != nil:
		return r.Web(name).Send(ctx, u)
	case c != nil:
		p, err = gitwire.Command(c, fmt.Sprintf("git-receive-pack '%s'", r.Path(name)))
	default:
		p, err = gitwire.Start(ctx, "git", "receive-pack", r.Dir(name))
	}
	if err != nil {
		return err
	}
	if err := gitwire.Send(p, u); err != nil {
		return errors.Join(err, p.CloseWrite())
	}
	return p.Wait()
}
