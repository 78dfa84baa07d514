//go:build compose

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// patience bounds each wait; nothing is expected to come near it.
const patience = 4 * time.Minute

// stack is one gitsplit in containers, of a name and ports of its own.
type stack struct {
	t                *testing.T
	tool             []string // docker compose, or docker-compose
	root             string   // the checkout
	file             string   // below root
	env              []string
	name             string // of the project
	http, https, ssh int
	backups          string // directory of this machine
}

func newStack(t *testing.T) *stack {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{t: t, root: root, file: "deploy/docker-compose.yml", name: "gitsplit-test-" + strconv.Itoa(os.Getpid())}
	s.tool = []string{"docker", "compose"}
	if exec.CommandContext(t.Context(), "docker", "compose", "version").Run() != nil {
		s.tool = []string{"docker-compose"}
	}
	s.http, s.https, s.ssh = freePort(t), freePort(t), freePort(t)
	s.backups = t.TempDir()
	if err := errors.Join(os.Chmod(s.backups, 0o700), os.Chown(s.backups, 10001, -1)); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	s.env = append(os.Environ(), "COMPOSE_PROJECT_NAME="+s.name, "HOME="+t.TempDir(), "LC_ALL=C.UTF-8", "GITSPLIT_BACKUPS="+s.backups,
		fmt.Sprintf("GITSPLIT_HTTP_PORT=%d", s.http), fmt.Sprintf("GITSPLIT_HTTPS_PORT=%d", s.https), fmt.Sprintf("GITSPLIT_SSH_PORT=%d", s.ssh))
	t.Cleanup(s.remove)
	return s
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return ln.Addr().(*net.TCPAddr).Port
}

// remove ends everything and removes it with its volumes. The logs of a failed
// test are printed before.
func (s *stack) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	run := func(args ...string) string {
		args = append(append(s.tool[1:len(s.tool):len(s.tool)], "-f", "deploy/docker-compose.scale.yml"), args...)
		cmd := exec.CommandContext(ctx, s.tool[0], args...)
		cmd.Dir, cmd.Env = s.root, s.env
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Errorf("compose %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if s.t.Failed() {
		s.t.Logf("%s", run("ps"))
		s.t.Logf("%s", run("logs", "--no-color", "--tail", "60"))
	}
	run("down", "--volumes", "--remove-orphans", "--timeout", "5")
}

// run runs a command in the checkout and returns its standard output.
func (s *stack) run(name string, args ...string) string {
	s.t.Helper()
	out, stderr, err := s.try("", name, args...)
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, stderr)
	}
	return out
}

func (s *stack) try(input, name string, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.root, s.env, strings.NewReader(input), &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

func (s *stack) compose(args ...string) string {
	s.t.Helper()
	return s.composeInput("", args...)
}

// composeInput is compose with something to read.
func (s *stack) composeInput(input string, args ...string) string {
	s.t.Helper()
	out, stderr, err := s.tryCompose(input, args...)
	if err != nil {
		s.t.Fatalf("compose %v: %v\n%s\n%s", args, err, out, stderr)
	}
	return out
}

func (s *stack) tryCompose(input string, args ...string) (stdout, stderr string, err error) {
	return s.try(input, s.tool[0], append(append(s.tool[1:len(s.tool):len(s.tool)], "-f", s.file), args...)...)
}

// up starts it and waits until every container is healthy, or has ended well.
func (s *stack) up(args ...string) {
	s.t.Helper()
	s.compose(append([]string{"up", "-d"}, args...)...)
	s.eventually("everything is healthy", func() error {
		for _, c := range s.containers() {
			switch {
			case c.State.Status == "exited" && c.State.ExitCode == 0 && (c.service() == "init" || c.service() == "migrate"):
			case c.State.Status == "running" && (c.State.Health == nil || c.State.Health.Status == "healthy"):
			default:
				return fmt.Errorf("%s is %s", c.Name, c.State.Status)
			}
		}
		return nil
	})
}

// eventually waits until check returns nil.
func (s *stack) eventually(what string, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: %v", what, err)
		}
		<-tick.C
	}
}

// container is what docker inspect says.
type container struct {
	ID, Name string
	State    struct {
		Status   string
		ExitCode int
		Pid      int
		Health   *struct{ Status string }
	}
	Config struct {
		User   string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs bool
		Memory         int64
		PidsLimit      *int64
	}
	NetworkSettings struct {
		Ports    map[string][]struct{ HostIP, HostPort string }
		Networks map[string]struct{ IPAddress, Gateway string }
	}
}

func (c container) service() string { return c.Config.Labels["com.docker.compose.service"] }

// file is the path, on this machine, of a file in the container's home.
func (c container) file(name string) string {
	return fmt.Sprintf("/proc/%d/root/var/opt/gitsplit/%s", c.State.Pid, name)
}

// ours reports whether it runs one of our images.
func (c container) ours() bool {
	switch c.service() {
	case "postgres", "redis", "haproxy":
		return false
	}
	return true
}

// containers returns those of the project, also those that have ended.
func (s *stack) containers() []container {
	s.t.Helper()
	ids := strings.Fields(s.run("docker", "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project="+s.name))
	if len(ids) == 0 {
		s.t.Fatal("there are no containers")
	}
	var list []container
	if err := json.Unmarshal([]byte(s.run("docker", append([]string{"inspect"}, ids...)...)), &list); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// running returns those that run, of one service or of all.
func (s *stack) running(service string) []container {
	s.t.Helper()
	var list []container
	for _, c := range s.containers() {
		if c.State.Status == "running" && (service == "" || c.service() == service) {
			list = append(list, c)
		}
	}
	return list
}
