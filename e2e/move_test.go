package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gitsplit/e2e/stack"
)

// readOnlyText is what a push is told while its project moves.
const readOnlyText = "The repository is temporarily read-only. Please try again later."

// secondGitaly starts another gitaly beside a running instance, with a storage "second", and returns its socket.
func secondGitaly(t *testing.T, s *stack.Stack, dir string) (socket, repositories string) {
	t.Helper()
	first, err := os.ReadFile(filepath.Join(s.Home, "config", "gitaly.toml"))
	if err != nil {
		t.Fatal(err)
	}
	socket, repositories = filepath.Join(dir, "g2.sock"), filepath.Join(dir, "second")
	runtime := filepath.Join(dir, "run")
	for _, path := range []string{repositories, runtime} {
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	text := ""
	for _, line := range strings.Split(string(first), "\n") {
		key, _, _ := strings.Cut(line, " =")
		value, ok := map[string]string{"socket_path": socket, "runtime_dir": runtime, "name": "second", "path": repositories}[key]
		switch {
		case ok:
			line = fmt.Sprintf("%s = %q", key, value)
		case key == "prometheus_listen_addr":
			continue
		}
		text += line + "\n"
	}
	config := filepath.Join(dir, "second.toml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "gitaly"), "serve", config) //nolint:gosec,noctx // our own program, stopped below
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the second gitaly: %v\n%s", err, log.String())
		}
	})
	return socket, repositories
}

// pusher pushes commits, each to a branch of its own, one after the other until stop is closed.
type pusher struct {
	*client
	dir, name string
	accepted  map[string]string // commits by branch
	refused   []string          // what git said
}

func (p *pusher) run(stop <-chan struct{}) {
	p.accepted = map[string]string{}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		branch := fmt.Sprintf("%s-%d", p.name, i)
		if out, err := p.cmd(p.tb.Context(), p.dir, "commit", "-q", "--allow-empty", "-m", branch).CombinedOutput(); err != nil {
			p.tb.Errorf("commit: %v %s", err, out)
			return
		}
		head, err := p.cmd(p.tb.Context(), p.dir, "rev-parse", "HEAD").Output()
		if err != nil {
			p.tb.Error(err)
			return
		}
		out, err := p.cmd(p.tb.Context(), p.dir, "push", "-q", "origin", "HEAD:refs/heads/"+branch).CombinedOutput()
		if err == nil {
			p.accepted[branch] = strings.TrimSpace(string(head))
		} else {
			p.refused = append(p.refused, string(out))
		}
	}
}

// TestProjectMove moves a project between two gitalys, there and back, while clients push over SSH and HTTP: what was acknowledged is there, what was
// refused was told why, the copies before are removed, and every push has its event.
func TestProjectMove(t *testing.T) {
	t.Parallel()
	dir := instanceDir(t)
	s, err := stack.Start(t.Context(), bin, filepath.Join(dir, "home"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}()
	must := func(input string, args ...string) [][]string {
		t.Helper()
		o := gitsplit(t.Context(), t, s, input, nil, args...)
		if o.code != 0 {
			t.Fatalf("gitsplit %q: %+v", args, o)
		}
		return o.cells()
	}
	socket, second := secondGitaly(t, s, dir)
	token, err := s.Secret("gitaly_token")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		o := gitsplit(t.Context(), t, s, token, nil, "storage", "add", "second", "unix:"+socket, "--weight", "0", "--token-stdin")
		return strings.TrimSpace(o.stderr)
	})

	c := newClient(t, s, "ssh")
	c.worktree("app")
	project := c.actor.Username + "/app"
	before := must("", "project", "list", "--search", project)[0]
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var pushers []*pusher
	for name, remote := range transports(s) {
		p := &pusher{client: &client{tb: t, actor: c.actor, home: c.home, remote: remote}, name: name, dir: filepath.Join(t.TempDir(), name)}
		p.git(".", "clone", "-q", p.url("app"), p.dir)
		pushers = append(pushers, p)
		wg.Go(func() { p.run(stop) })
	}
	for _, storage := range []string{"second", "default", "second"} {
		steps := must("", "project", "move", project, storage)
		last := steps[len(steps)-1]
		t.Logf("to %s: %d steps, %s ms read-only, attempts %s", storage, len(steps), last[6], last[5])
		if last[4] != "finished" || must("", "project", "list", "--search", project)[0][3] != storage {
			t.Errorf("to %s: %q", storage, steps)
		}
	}
	close(stop)
	wg.Wait()

	accepted, refused := 0, 0
	lines := strings.Fields(c.git(".", "ls-remote", c.url("app"), "refs/heads/*"))
	there := map[string]string{}
	for i := 0; i+1 < len(lines); i += 2 {
		there[strings.TrimPrefix(lines[i+1], "refs/heads/")] = lines[i]
	}
	for _, p := range pushers {
		for branch, oid := range p.accepted {
			if accepted++; there[branch] != oid {
				t.Errorf("%s was acknowledged at %s and is at %q", branch, oid, there[branch])
			}
		}
		for _, out := range p.refused {
			if refused++; !strings.Contains(out, readOnlyText) {
				t.Errorf("refused with:\n%s", out)
			}
		}
		p.git(p.dir, "push", "-q", "origin", "HEAD:refs/heads/after-"+p.name)
	}
	if len(there) != accepted+1 { // and main
		t.Errorf("%d branches of %d pushes", len(there), accepted)
	}
	t.Logf("%d pushes accepted, %d refused", accepted, refused)

	now := must("", "project", "list", "--search", project)[0]
	if now[4] == before[4] {
		t.Errorf("the repository lies at %s again", now[4])
	}
	events := fmt.Sprintf(`DO $$ BEGIN IF (SELECT count(DISTINCT ref) FROM push_event_refs) <> %d THEN RAISE 'other events'; END IF; END $$`, accepted+3)
	eventually(t, time.Minute, func() string {
		if err := s.SQL(t.Context(), events); err != nil {
			return err.Error()
		}
		return ""
	})
	// An hour later.
	if err := s.SQL(t.Context(), "UPDATE river_job SET scheduled_at = now() WHERE kind = 'remove_copy' AND state = 'scheduled'"); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, func() string {
		var left []string
		for _, root := range []string{filepath.Join(s.Home, "data", "repositories"), second} {
			list, err := filepath.Glob(filepath.Join(root, "@hashed", "*", "*", "*.git"))
			if err != nil {
				return err.Error()
			}
			left = append(left, list...)
		}
		if len(left) != 1 || left[0] != filepath.Join(second, now[4]) {
			return fmt.Sprintf("repositories: %q", left)
		}
		return ""
	})
	c.git(".", "--git-dir", filepath.Join(second, now[4]), "fsck", "--strict", "--full")
}
