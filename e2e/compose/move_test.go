//go:build compose

package compose

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// readOnlyText is what a push is told while its project moves.
const readOnlyText = "The repository is temporarily read-only. Please try again later."

// pusher pushes one commit after the other, each to a branch of its own.
type pusher struct {
	*client
	dir, name string
	accepted  map[string]string // commits by branch
	refused   int
}

func (p *pusher) run(stop *atomic.Bool) {
	for i := 0; !stop.Load(); i++ {
		branch := fmt.Sprintf("%s-%d", p.name, i)
		if _, err := p.tryGit(p.dir, "commit", "--quiet", "--allow-empty", "--message", branch); err != nil {
			p.s.t.Error(err)
			return
		}
		head, err := p.tryGit(p.dir, "rev-parse", "HEAD")
		if err != nil {
			p.s.t.Error(err)
			return
		}
		_, err = p.tryGit(p.dir, "push", "--quiet", "origin", "HEAD:refs/heads/"+branch)
		switch {
		case err == nil:
			p.accepted[branch] = head
		case strings.Contains(err.Error(), readOnlyText):
			p.refused++
		default:
			p.s.t.Errorf("refused: %v", err)
		}
	}
}

// move takes a project to the other storage and back while people push to it.
func (s *stack) move() {
	c := s.newClient()
	dir := c.repository("moving")
	c.git(dir, "push", "--quiet", c.ssh("root/moving.git"), "main")
	var stop atomic.Bool
	var done sync.WaitGroup
	var pushers []*pusher
	for name, remote := range map[string]string{"ssh": c.ssh("root/moving.git"), "https": c.https("root/moving.git")} {
		p := &pusher{client: c, dir: filepath.Join(c.dir, "push-"+name), name: name, accepted: map[string]string{}}
		c.git(c.dir, "clone", "--quiet", remote, p.dir)
		pushers = append(pushers, p)
		done.Go(func() { p.run(&stop) })
	}
	var paths []string
	for range 2 {
		before := c.project("root/moving")
		paths = append(paths, before[4])
		to := map[string]string{"default": "second", "second": "default"}[before[3]]
		out, stderr, err := s.tryCompose("", "exec", "-T", "rails-api", "gitsplit", "project", "move", "root/moving", to)
		steps := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || !strings.Contains(steps[len(steps)-1], "\tfinished\t") {
			s.t.Errorf("to %s: %v\n%s%s", to, err, out, stderr)
		}
		s.t.Logf("moved: %s", steps[len(steps)-1])
		if now := c.project("root/moving"); now[3] != to || now[4] == before[4] {
			s.t.Errorf("moved to %s: it is at %v, was at %v", to, now, before)
		}
	}
	stop.Store(true)
	done.Wait()
	there := map[string]string{}
	for _, line := range strings.Split(c.git(c.dir, "ls-remote", c.https("root/moving.git"), "refs/heads/*"), "\n") {
		oid, name, _ := strings.Cut(line, "\trefs/heads/")
		there[name] = oid
	}
	accepted, refused := 0, 0
	for _, p := range pushers {
		accepted, refused = accepted+len(p.accepted), refused+p.refused
		for branch, oid := range p.accepted {
			if there[branch] != oid {
				s.t.Errorf("%s was acknowledged at %s and is at %q", branch, oid, there[branch])
			}
		}
		c.git(p.dir, "push", "--quiet", "origin", "HEAD:refs/heads/after-"+p.name)
	}
	if len(there) != accepted+1 { // and main
		s.t.Errorf("%d branches of %d pushes", len(there), accepted)
	}
	s.t.Logf("%d pushes accepted, %d refused", accepted, refused)
	s.removeCopies(paths...)
}

// removeCopies does now what would be done an hour after a move, and waits until what lay at the paths is gone from both storages.
func (s *stack) removeCopies(paths ...string) {
	s.t.Helper()
	for _, line := range strings.Split(s.compose("exec", "-T", "rails-api", "gitsplit", "admin", "job", "list", "--state", "scheduled"), "\n") {
		if id, rest, _ := strings.Cut(line, "\t"); strings.HasPrefix(rest, "remove_copy\t") {
			s.compose("exec", "-T", "rails-api", "gitsplit", "admin", "job", "retry", id)
		}
	}
	s.eventually("the copies are removed", func() error {
		for _, service := range []string{"gitaly", "gitaly-second"} {
			one := s.running(service)[0]
			for _, path := range paths {
				if _, err := os.Stat(one.file("data/repositories/" + path)); !os.IsNotExist(err) {
					return fmt.Errorf("%s has %s (%v)", service, path, err)
				}
			}
		}
		return nil
	})
}
