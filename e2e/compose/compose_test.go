//go:build compose

package compose

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The compose file from nothing: a first contact as the log of init describes it,
// what the containers may and may not, and what is left after they are gone.
func TestCompose(t *testing.T) {
	s := newStack(t)
	s.up()
	t.Run("first contact", func(t *testing.T) { s.in(t).firstContact() })
	t.Run("quiet logs", func(t *testing.T) { s.in(t).quiet() })
	t.Run("confined", func(t *testing.T) { s.in(t).confined() })
	t.Run("ports and networks", func(t *testing.T) { s.in(t).reachable("workhorse", "gitlab-sshd") })
	t.Run("images", func(t *testing.T) { s.in(t).sizes() })
	t.Run("memory", func(t *testing.T) { s.in(t).memory(200) })
	t.Run("doctor", func(t *testing.T) { s.in(t).doctor() })
	t.Run("restart", func(t *testing.T) { s.in(t).restart() })
	if t.Failed() {
		return
	}
	k := s.inhabit()
	t.Run("languages", func(t *testing.T) { s.in(t).languages(k) })
	t.Run("backup", func(t *testing.T) { s.in(t).backup(k) })
	// On new volumes, and scaled.
	s.wipe()
	s.file = "deploy/docker-compose.scale.yml"
	t.Run("restore", func(t *testing.T) { s.in(t).restore(k) })
	s.up("--scale", "rails-api=2", "--scale", "workhorse=2", "--scale", "gitlab-sshd=2", "--scale", "sidekiq=2")
	t.Run("restored, as before", func(t *testing.T) { s.in(t).same(k) })
	t.Run("scaled, ports and networks", func(t *testing.T) { s.in(t).reachable("haproxy") })
	t.Run("scaled, confined", func(t *testing.T) { s.in(t).confined() })
	t.Run("scaled, same keys everywhere", func(t *testing.T) { s.in(t).sameKeys() })
	t.Run("scaled, two storages", func(t *testing.T) { s.in(t).spread() })
	t.Run("scaled, client addresses", func(t *testing.T) { s.in(t).addresses() })
	t.Run("scaled, project moved", func(t *testing.T) { s.in(t).move() })
	t.Run("scaled, one of each killed", func(t *testing.T) { s.in(t).killed() })
	if t.Failed() {
		return
	}
	t.Run("scaled, backup and restore", func(t *testing.T) { s.in(t).restorable(k) })
}

// in returns the same stack for a subtest.
func (s *stack) in(t *testing.T) *stack {
	t.Helper()
	sub := *s
	sub.t = t
	return &sub
}

// firstContact pastes what the log of init says into bash.
func (s *stack) firstContact() {
	text := s.compose("logs", "--no-color", "--no-log-prefix", "init")
	for _, want := range []string{
		fmt.Sprintf("http://localhost:%d\n", s.http), fmt.Sprintf("https://localhost:%d\n", s.https),
		fmt.Sprintf("ssh://git@localhost:%d\n", s.ssh), "User       root\n", "Password   ",
	} {
		if !strings.Contains(text, want) {
			s.t.Errorf("the log of init lacks %q:\n%s", want, text)
		}
	}
	if again := s.compose("exec", "-T", "rails-api", "gitsplit", "credentials"); !strings.Contains(text, again) {
		s.t.Errorf("gitsplit credentials says something else:\n%s", again)
	}
	// Where docker compose is the old program, its name is another.
	text = strings.ReplaceAll(text, "docker compose ", strings.Join(s.tool, " ")+" ")
	script := "set -e\n"
	for _, title := range []string{"what clients need", "push over HTTPS", "push over SSH"} {
		block := regexp.MustCompile(`(?s)# --- ` + title + ` ---\n(.*?)# --- end ---`).FindStringSubmatch(text)
		if block == nil {
			s.t.Fatalf("the log of init has no block %q:\n%s", title, text)
		}
		script += block[1]
	}
	s.run("bash", "-c", script)
	var projects []struct {
		Path string `json:"path_with_namespace"`
	}
	c := s.newClient()
	c.api("GET", "projects", nil, &projects)
	if len(projects) != 2 {
		s.t.Errorf("after the two pushes there are the projects %v", projects)
	}
	for _, p := range projects {
		c.git(c.dir, "clone", "--quiet", c.https(p.Path+".git"), "by-https-"+filepath.Base(p.Path))
		c.git(c.dir, "clone", "--quiet", c.ssh(p.Path+".git"), "by-ssh-"+filepath.Base(p.Path))
	}
}

// quiet looks for warnings and errors in the logs of a first start.
func (s *stack) quiet() {
	bad := regexp.MustCompile(`(?i)"level":"(warn|error)"|\b(warning|error|fatal)\b:`)
	for _, line := range strings.Split(s.compose("logs", "--no-color"), "\n") {
		if bad.MatchString(line) {
			s.t.Errorf("in the log: %s", line)
		}
	}
}

// restart takes all containers away and makes new ones on the same volumes.
func (s *stack) restart() {
	c := s.newClient()
	dir := c.repository("kept")
	c.git(dir, "push", "--quiet", c.ssh("root/kept.git"), "main")
	before := s.compose("exec", "-T", "rails-api", "gitsplit", "credentials")
	s.compose("down")
	s.up()
	if after := s.compose("exec", "-T", "rails-api", "gitsplit", "credentials"); after != before {
		s.t.Errorf("the credentials changed:\n%s\n%s", before, after)
	}
	for _, url := range []string{c.https("root/kept.git"), c.ssh("root/kept.git")} { // with the old authority and host keys
		got := strings.Fields(c.git(c.dir, "ls-remote", url, "refs/heads/main"))
		if want := c.git(dir, "rev-parse", "main"); len(got) == 0 || got[0] != want {
			s.t.Errorf("%s has %v, want %s", url, got, want)
		}
	}
	c.git(dir, "commit", "--quiet", "--allow-empty", "--message", "second")
	c.git(dir, "push", "--quiet", c.https("root/kept.git"), "main")
}

func trusting(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca) //nolint:gosec // a test
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// noShell reports an error if the container can run a shell.
func (s *stack) noShell(c container) {
	s.t.Helper()
	for _, shell := range []string{"/bin/sh", "/bin/bash", "/bin/busybox"} {
		if exec.CommandContext(s.t.Context(), "docker", "exec", c.ID, shell, "-c", "true").Run() == nil { //nolint:gosec // a test
			s.t.Errorf("%s has %s", c.Name, shell)
		}
	}
}
