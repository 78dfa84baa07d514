// Package peer runs the servers that take part: a gitsplit, and beside it what people
// use today: OpenSSH with git-shell, gitolite, git-http-backend under nginx, and git
// alone on a local path. Each serves copies of the same repositories from this machine,
// on ports of its own, and is set up as its documentation says.
package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
)

// Server is a server with repositories.
type Server interface {
	// Place makes the repository known as name, with the content of r; Empty makes an
	// empty one. Names have lower-case letters, digits and dashes.
	Place(ctx context.Context, name string, r fixture.Repo) error
	Empty(ctx context.Context, name string) error
	// Roots are the process trees that do the server's work; none for a local path.
	Roots() []int
	// CPU is the processor time that the server has used so far.
	CPU() time.Duration
	// Close stops the server.
	Close() error
}

// Remote is one way to reach the repositories of a server.
type Remote struct {
	Name   string
	Server Server
	URL    func(repo string) string
	Args   []string // for git, before the sub-command
	Env    []string
	// One of these is set, for clients without git.
	Shell *gitwire.Shell
	Path  func(repo string) string // on the command line over SSH
	Web   func(repo string) gitwire.Web
	Dir   func(repo string) string // on disk
}

// Site is where a run keeps its files and clients.
type Site struct {
	Dir     string // scratch, readable by the users that peers run as
	Home    string // of git's and ssh's client
	Key     string // private key of the client
	HostKey string // of the OpenSSH servers
}

// NewSite makes the directories and keys below dir.
func NewSite(ctx context.Context, dir string) (*Site, error) {
	s := &Site{Dir: dir, Home: filepath.Join(dir, "client"), Key: filepath.Join(dir, "client", "id"), HostKey: filepath.Join(dir, "host_key")}
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(s.Home, 0o700)); err != nil { //nolint:gosec // peers run as other users
		return nil, err
	}
	config := "[user]\n\tname = Bench\n\temail = bench@example.test\n[init]\n\tdefaultBranch = main\n[gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n[safe]\n\tdirectory = *\n"
	if err := os.WriteFile(filepath.Join(s.Home, ".gitconfig"), []byte(config), 0o600); err != nil {
		return nil, err
	}
	for _, file := range []string{s.Key, s.HostKey} {
		if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", file).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ssh-keygen: %w: %s", err, out)
		}
	}
	return s, nil
}

// Env is the environment of git as a client.
func (s *Site) Env() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Home, "GIT_CONFIG_GLOBAL=" + filepath.Join(s.Home, ".gitconfig"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
	}
}

// SSHCommand is OpenSSH's client with the same key exchange and the same host key type
// for all servers. Host keys are pinned nowhere: the servers are ours.
func (s *Site) SSHCommand() string {
	return "ssh -F none -i " + s.Key + " -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes -o StrictHostKeyChecking=no" +
		" -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o KexAlgorithms=curve25519-sha256 -o HostKeyAlgorithms=ssh-ed25519"
}

// Git prepares git to work with the remote.
func (s *Site) Git(ctx context.Context, r Remote, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{}, r.Args...), args...)...) //nolint:gosec // git
	cmd.Dir = s.Home
	cmd.Env = append(s.Env(), r.Env...)
	return cmd
}

// bare makes an empty bare repository with the three hooks that do nothing.
func bare(ctx context.Context, dir string, config ...string) error {
	steps := [][]string{{"init", "--quiet", "--bare", "--initial-branch=main", dir}}
	for i := 0; i+1 < len(config); i += 2 {
		steps = append(steps, []string{"-C", dir, "config", config[i], config[i+1]})
	}
	for _, args := range steps {
		cmd := exec.CommandContext(ctx, "git", args...) //nolint:gosec // git
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TEMPLATE_DIR=")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return noHooks(dir, "pre-receive", "update", "post-receive")
}

func noHooks(dir string, names ...string) error {
	hooks := filepath.Join(dir, "hooks")
	err := os.MkdirAll(hooks, 0o755) //nolint:gosec // peers run as other users
	for _, name := range names {
		err = errors.Join(err, os.WriteFile(filepath.Join(hooks, name), []byte("#!/bin/sh\nexit 0\n"), 0o755)) //nolint:gosec // a program
	}
	return err
}
