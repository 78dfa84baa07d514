package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"gitsplit/e2e/internal/user"
)

// lane is a project of a site, over one transport, in which one trial runs at a time.
type lane struct {
	site      *site
	transport string
	key       string // file of the SSH key
	keyID     int64
	name      string
	id        int64  // of the project
	repo      string // directory on the server
	work      string // the client's work tree
	remote    string

	recorded  refs // what the events say, up to the last one that was looked at
	lastEvent int64
}

// newLane makes a project with the branches main and side, and a key of its own.
func (s *site) newLane(ctx context.Context, transport string) (*lane, error) {
	l := &lane{site: s, transport: transport, recorded: refs{}, name: fmt.Sprintf("%s-%s", transport, user.RandomHex(4))}
	l.work = filepath.Join(s.dir, "tmp", l.name)
	l.remote = s.front.HTTP + "/" + s.user.Username + "/" + l.name + ".git"
	l.key, l.keyID = s.user.KeyFile, s.user.KeyID
	if transport == "ssh" {
		l.remote = "ssh://git@" + s.front.SSHHost + ":" + s.front.SSHPort + "/" + s.user.Username + "/" + l.name + ".git"
		var err error
		if l.key, err = user.NewKey(ctx, l.work+".key"); err != nil {
			return nil, err
		}
		if l.keyID, err = s.user.Register(ctx, l.key); err != nil {
			return nil, err
		}
	}
	if _, err := l.git(ctx, "", "init", "-q", l.work); err != nil {
		return nil, err
	}
	if err := l.commit(ctx, 200<<10); err != nil {
		return nil, err
	}
	if _, err := l.git(ctx, l.work, "push", "-q", l.remote, "main", "side"); err != nil {
		return nil, err
	}
	var made struct{ ID int64 }
	if err := s.Must(ctx, s.user.Token, "GET", "projects/"+s.user.Username+"%2F"+l.name, nil, &made); err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(strconv.FormatInt(made.ID, 10)))
	name := hex.EncodeToString(sum[:])
	l.id, l.repo = made.ID, filepath.Join(s.storage(), "@hashed", name[:2], name[2:4], name+".git")
	_, err := os.Stat(l.repo)
	return l, err
}

// subject is how the services name the project.
func (l *lane) subject() string { return fmt.Sprintf("project-%d", l.id) }

// commit makes a commit with so many random bytes on main, and one on side.
func (l *lane) commit(ctx context.Context, size int64) error {
	if err := random(filepath.Join(l.work, "file"), size); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"add", "file"}, {"commit", "-q", "-m", user.RandomHex(4)}, {"branch", "-f", "side", "main"},
	} {
		if _, err := l.git(ctx, l.work, step...); err != nil {
			return err
		}
	}
	return nil
}

func random(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// cmd is git as a process group of its own.
func (l *lane) cmd(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	u := *l.site.user
	u.KeyFile = l.key
	cmd.Dir, cmd.Env = dir, append(os.Environ(), u.Env(l.site.home)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

func (l *lane) git(ctx context.Context, dir string, args ...string) (string, error) {
	out, err := l.cmd(ctx, dir, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out)), nil
}

// refs are the branches and tags of a repository, by their names.
type refs map[string]string

// tips reads a repository's references, on the server or of the client.
func tips(ctx context.Context, dir string) (refs, error) {
	cmd := exec.CommandContext(ctx, "git", "-C", dir, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags")
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("references of %s: %w: %s", dir, err, stderr.String())
	}
	all := refs{}
	for line := range strings.Lines(string(out)) {
		name, oid, _ := strings.Cut(strings.TrimSpace(line), " ")
		all[name] = oid
	}
	return all, nil
}
