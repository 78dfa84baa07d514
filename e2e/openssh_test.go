package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/e2e/internal/user"
)

// TestOpenSSH pushes and clones through a real OpenSSH server whose users are
// gitsplit's: as the README of services/shell tells sites to set it up that keep it.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	t.Run("authorized_keys file", func(t *testing.T) {
		t.Parallel()
		s := newSSHSite(t, t.TempDir())
		c := newClient(t, shared, "ssh")
		line := fmt.Sprintf("command=\"%s/bin/gitlab-shell key-%d\",no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty %s",
			s.root, c.actor.KeyID, read(t, c.actor.KeyFile+".pub"))
		s.write("authorized_keys", line, 0o600)
		s.serve("AuthorizedKeysFile " + s.root + "/authorized_keys\n")
		s.journey(c)
	})
	t.Run("AuthorizedKeysCommand", func(t *testing.T) {
		t.Parallel()
		s := newSSHSite(t, protected(t))
		s.serve(fmt.Sprintf("AuthorizedKeysFile none\nAuthorizedKeysCommand %s/bin/gitlab-shell-authorized-keys-check %s %%u %%k\nAuthorizedKeysCommandUser root\n", s.root, s.user))
		s.journey(newClient(t, shared, "ssh"))
		if out, err := s.ssh(strangerKey(t)); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
			t.Errorf("a stranger's key: %v\n%s", err, out)
		}
	})
	t.Run("AuthorizedPrincipalsCommand", func(t *testing.T) {
		t.Parallel()
		s := newSSHSite(t, protected(t))
		ca := filepath.Join(t.TempDir(), "ca")
		if _, err := user.NewKey(t.Context(), ca); err != nil {
			t.Fatal(err)
		}
		s.write("ca.pub", read(t, ca+".pub"), 0o644)
		s.serve(fmt.Sprintf("AuthorizedKeysFile none\nTrustedUserCAKeys %[1]s/ca.pub\nAuthorizedPrincipalsCommand %[1]s/bin/gitlab-shell-authorized-principals-check %%i sshUsers\n"+
			"AuthorizedPrincipalsCommandUser root\n", s.root))
		c := newClient(t, shared, "ssh")
		out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-s", ca, "-I", c.actor.Username, "-n", "sshUsers", c.actor.KeyFile+".pub").CombinedOutput() //nolint:gosec // test
		if err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
		s.journey(c)
	})
}

// sshSite is an OpenSSH server with gitlab-shell behind it.
type sshSite struct {
	t    *testing.T
	root string // config.yml, with bin beside
	user string // who logs in
	port string
}

// newSSHSite installs the programs in root, beside the configuration that gitsplit
// made for its own daemon.
func newSSHSite(t *testing.T, root string) *sshSite {
	t.Helper()
	who, err := osuser.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &sshSite{t: t, root: root, user: who.Username}
	for _, dir := range []string{root, filepath.Join(root, "bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // sshd wants to read it
			t.Fatal(err)
		}
	}
	for _, program := range []string{"gitlab-shell", "gitlab-shell-authorized-keys-check", "gitlab-shell-authorized-principals-check", "gitlab-shell-check"} {
		s.write("bin/"+program, read(t, filepath.Join(bin, program)), 0o755)
	}
	s.write("config.yml", read(t, filepath.Join(shared.Home, "config", "shell", "config.yml")), 0o600)
	if out, err := exec.CommandContext(t.Context(), filepath.Join(root, "bin", "gitlab-shell-check")).CombinedOutput(); err != nil { //nolint:gosec // our own program
		t.Fatalf("gitlab-shell-check: %v\n%s", err, out)
	}
	return s
}

// protected is a directory that only root can change, all the way up: sshd runs no
// command from any other.
func protected(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("sshd runs commands that root owns, and this is not root")
	}
	dir, err := os.MkdirTemp("/var/lib", "gitsplit-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // sshd wants to read it
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file) //nolint:gosec // test
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func (s *sshSite) write(name, text string, mode os.FileMode) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, name), []byte(text), mode); err != nil {
		s.t.Fatal(err)
	}
}

// serve runs sshd with more lines in its configuration until the test ends.
func (s *sshSite) serve(lines string) {
	s.t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd"
	}
	if os.Getuid() == 0 { // where sshd puts the part of it that talks before the login
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as the package makes it
			s.t.Fatal(err)
		}
	}
	if _, err := user.NewKey(s.t.Context(), filepath.Join(s.root, "host_key")); err != nil {
		s.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(ln.Addr().String())
	_ = ln.Close() // sshd takes it
	s.write("sshd_config", fmt.Sprintf("ListenAddress 127.0.0.1:%s\nHostKey %s/host_key\nPidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n"+
		"PasswordAuthentication no\nKbdInteractiveAuthentication no\nAcceptEnv GIT_PROTOCOL\n%s", s.port, s.root, lines), 0o644)
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(s.root, "sshd_config")) //nolint:gosec,noctx // stopped below
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan string, 1)
	go func() {
		var said strings.Builder
		listening := false
		for in := bufio.NewScanner(io.TeeReader(stderr, &said)); in.Scan(); {
			if !listening && strings.Contains(in.Text(), "Server listening") {
				listening = true
				close(ready)
			}
		}
		ended <- said.String()
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		said := <-ended
		_ = cmd.Wait() // killed
		if s.t.Failed() {
			s.t.Logf("sshd said:\n%s", said)
		}
	})
	select {
	case <-ready:
	case said := <-ended:
		ended <- said
		s.t.Fatalf("sshd ended:\n%s", said)
	case <-time.After(30 * time.Second):
		s.t.Fatal("sshd does not listen")
	}
}

// journey greets, pushes a new project, clones it, and is refused in gitlab-shell's words.
func (s *sshSite) journey(c *client) {
	t := s.t
	t.Helper()
	c.remote = "ssh://" + s.user + "@127.0.0.1:" + s.port
	known, err := os.OpenFile(filepath.Join(c.home, "known_hosts"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(known, "[127.0.0.1]:%s %s", s.port, read(t, filepath.Join(s.root, "host_key.pub")))
		err = errors.Join(err, known.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := c.worktree("kept-openssh")
	clone := filepath.Join(t.TempDir(), "clone")
	c.git(".", "-c", "protocol.version=2", "clone", "-q", c.url("kept-openssh"), clone)
	if a, b := c.git(dir, "rev-parse", "HEAD"), c.git(clone, "rev-parse", "HEAD"); a != b {
		t.Errorf("pushed %s, cloned %s", a, b)
	}
	out, err := s.ssh(c.actor.KeyFile)
	if err != nil || out != "Welcome to GitLab, @"+c.actor.Username+"!\n" {
		t.Errorf("greeting: %v %q", err, out)
	}
	if out, err = s.ssh(c.actor.KeyFile, "ls -la"); err == nil || out != "Disallowed command\n" {
		t.Errorf("ls: %v %q", err, out)
	}
	if out, err = s.ssh(c.actor.KeyFile, "git-upload-pack no/such"); err == nil || !strings.Contains(out,
		"\nremote: The project you were looking for could not be found or you don't have permission to view it.\n") {
		t.Errorf("no such project: %v %q", err, out)
	}
}

// ssh runs OpenSSH's client and returns all that it printed.
func (s *sshSite) ssh(key string, command ...string) (string, error) {
	args := append([]string{
		"-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-p", s.port, "-T", s.user + "@127.0.0.1",
	}, command...)
	out, err := exec.CommandContext(s.t.Context(), "ssh", args...).CombinedOutput() //nolint:gosec // test
	return string(out), err
}

func strangerKey(t *testing.T) string {
	t.Helper()
	file, err := user.NewKey(t.Context(), filepath.Join(t.TempDir(), "stranger"))
	if err != nil {
		t.Fatal(err)
	}
	return file
}
