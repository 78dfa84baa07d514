package peer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"gitsplit/bench/internal/gitwire"
)

// sshd is an OpenSSH server for one user, in the Debian package's configuration but for
// what a Git server changes: keys only, many logins at once, git's protocol version. PAM
// is off, which makes it faster, and its time no matter of the machine's PAM modules.
type sshd struct {
	*daemon
	account
	own  owner
	home string
	port string
}

func newSSHD(ctx context.Context, s *Site, name, shell string) (_ *sshd, err error) {
	path, err := find("sshd", "/usr/sbin/sshd")
	if err != nil {
		return nil, err
	}
	d := &sshd{home: filepath.Join(s.Dir, name)}
	if d.own, err = newOwner(ctx, name, d.home, shell); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.own.remove())
		}
	}()
	// Where sshd puts its part that talks before the login; the package makes it at boot.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { //nolint:gosec // as the package makes it
		return nil, err
	}
	if d.port, err = freePort(); err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`Port %s
ListenAddress 127.0.0.1
HostKey %s
PidFile none
UsePAM no
KbdInteractiveAuthentication no
PasswordAuthentication no
X11Forwarding no
PrintMotd no
AcceptEnv LANG LC_* GIT_PROTOCOL
AllowUsers %s
AuthorizedKeysFile %s/.ssh/authorized_keys
StrictModes no
MaxStartups 1000
LogLevel ERROR
`, d.port, s.HostKey, name, d.home)
	file := filepath.Join(s.Dir, name+".sshd_config")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	d.account = newAccount(name)
	err = d.group.Start(func() (err error) {
		d.daemon, err = startDaemon(path, "-D", "-e", "-f", file)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, d.group.Close())
	}
	return d, d.ready(ctx, "tcp", "127.0.0.1:"+d.port)
}

// authorize replaces the file of keys.
func (d *sshd) authorize(content []byte) error {
	dir := filepath.Join(d.home, ".ssh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, "authorized_keys"), content, 0o600), d.own.give(dir)) //nolint:gosec // below the run's own directory
}

func (d *sshd) Roots() []int { return []int{d.pid()} }

// CPU is what sshd and everything behind it has used.
func (d *sshd) CPU() time.Duration { return d.used(d.Roots()) }

// Close stops the server and removes its user.
func (d *sshd) Close() error { return errors.Join(d.close(), d.own.remove(), d.group.Close()) }

// remote describes the server for clients.
func (d *sshd) remote(s *Site, name string) (Remote, error) {
	shell, err := gitwire.NewShell("127.0.0.1:"+d.port, d.own.name, s.Key)
	return Remote{
		Name: name, Shell: &shell, Env: []string{"GIT_SSH_COMMAND=" + s.SSHCommand()},
		URL: func(repo string) string {
			return fmt.Sprintf("ssh://%s@127.0.0.1:%s/~/%s.git", d.own.name, d.port, repo)
		},
		Path: func(repo string) string { return repo + ".git" },
	}, err
}

// openSSH is sshd with git-shell as its user's login shell.
type openSSH struct {
	*sshd
	files
}

// OpenSSH starts a server with git-shell, the way of gitcvs-migration(7) and
// git-shell(1) to share repositories over SSH.
func OpenSSH(ctx context.Context, s *Site) (Remote, error) {
	shell, err := find("git-shell")
	if err != nil {
		return Remote{}, err
	}
	d, err := newSSHD(ctx, s, "gsbench-git", shell)
	if err != nil {
		return Remote{}, err
	}
	o := &openSSH{sshd: d, files: files{dir: d.home, own: d.own}}
	public, err := os.ReadFile(s.Key + ".pub")
	if err == nil {
		err = d.authorize(public)
	}
	if err != nil {
		return Remote{}, errors.Join(err, d.Close())
	}
	r, err := d.remote(s, "openssh")
	r.Server = o
	r.URL = func(repo string) string { return fmt.Sprintf("ssh://gsbench-git@127.0.0.1:%s%s", d.port, o.path(repo)) }
	r.Path = o.path
	return r, err
}

func (o *openSSH) Roots() []int { return o.sshd.Roots() }

// CPU is what sshd and everything behind it has used.
func (o *openSSH) CPU() time.Duration { return o.sshd.CPU() }

// Close stops the server.
func (o *openSSH) Close() error { return o.sshd.Close() }

// Authorizer is a server whose file of keys can be replaced by another, however large,
// at once.
type Authorizer interface{ Authorize(file string) error }

// Authorize makes file, on the same file system, the server's file of keys.
func (o *openSSH) Authorize(file string) error {
	keys := filepath.Join(o.home, ".ssh", "authorized_keys")
	if err := os.Remove(keys + ".new"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(os.Link(file, keys+".new"), os.Rename(keys+".new", keys))
}

// find looks for a program on the PATH and in other places.
func find(name string, others ...string) (string, error) {
	path, err := exec.LookPath(name)
	for _, other := range others {
		if err != nil {
			path, err = exec.LookPath(other)
		}
	}
	return path, err
}
