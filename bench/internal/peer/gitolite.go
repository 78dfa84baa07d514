package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gitsplit/bench/internal/fixture"
)

// gitolite is OpenSSH with gitolite, which decides per user, repository and reference.
type gitolite struct {
	*sshd
	program string
	rules   strings.Builder
}

// Gitolite sets gitolite up for its own user as its documentation says, with the
// client's key as the administrator's.
func Gitolite(ctx context.Context, s *Site) (Remote, error) {
	program, err := find("gitolite")
	if err != nil {
		return Remote{}, err
	}
	d, err := newSSHD(ctx, s, "gsbench-gitolite", "/bin/sh")
	if err != nil {
		return Remote{}, err
	}
	g := &gitolite{sshd: d, program: program}
	if err := g.setUp(ctx, s); err != nil {
		return Remote{}, errors.Join(err, d.Close())
	}
	r, err := d.remote(s, "gitolite")
	r.Server = g
	r.URL = func(repo string) string {
		return fmt.Sprintf("ssh://gsbench-gitolite@127.0.0.1:%s/%s.git", d.port, repo)
	}
	return r, err
}

func (g *gitolite) setUp(ctx context.Context, s *Site) error {
	public, err := os.ReadFile(s.Key + ".pub")
	if err != nil {
		return err
	}
	key := filepath.Join(g.home, "bench.pub")
	if err := errors.Join(os.WriteFile(key, public, 0o600), g.own.give(g.home)); err != nil { //nolint:gosec // below the run's own directory
		return err
	}
	if err := g.run(ctx, "setup", "-pk", key); err != nil {
		return err
	}
	g.rules.WriteString("repo gitolite-admin\n    RW+ = bench\n")
	return nil
}

func (g *gitolite) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, g.program, args...) //nolint:gosec // gitolite
	g.own.as(cmd, g.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("gitolite %s: %w: %s", args[0], err, out)
	}
	return nil
}

// Empty adds a repository to the rules; gitolite makes it, with its update hook. The
// other two hooks do nothing.
func (g *gitolite) Empty(ctx context.Context, name string) error {
	fmt.Fprintf(&g.rules, "repo %s\n    RW+ = bench\n", name)
	conf := filepath.Join(g.home, ".gitolite", "conf", "gitolite.conf")
	if err := errors.Join(os.WriteFile(conf, []byte(g.rules.String()), 0o600), g.own.give(conf)); err != nil {
		return err
	}
	if err := errors.Join(g.run(ctx, "compile"), g.run(ctx, "trigger", "POST_COMPILE")); err != nil {
		return err
	}
	dir := filepath.Join(g.home, "repositories", name+".git")
	return errors.Join(noHooks(dir, "pre-receive", "post-receive"), g.own.give(dir))
}

// Place makes a repository and fills it.
func (g *gitolite) Place(ctx context.Context, name string, r fixture.Repo) error {
	if err := g.Empty(ctx, name); err != nil {
		return err
	}
	dir := filepath.Join(g.home, "repositories", name+".git")
	return errors.Join(fixture.Place(r, dir), g.own.give(dir))
}
