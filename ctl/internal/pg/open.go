package pg

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"gitsplit/ctl/internal/home"
)

// systemUser runs the server when gitsplit is root.
const systemUser = "postgres"

// outside is where root keeps clusters that the system user could not reach in
// the home, for example because that lies in /root.
const outside = "/var/lib/gitsplit"

// Open returns the cluster of a home, and makes its directory if there is none
// yet. Its place is data/postgres; when that is not within reach of the server's
// user, data/postgres becomes a symbolic link to a directory of its own in
// /var/lib/gitsplit. It does not make the cluster itself: see Init.
func Open(h home.Home) (Cluster, error) {
	me, err := user.Current()
	if err != nil {
		return Cluster{}, fmt.Errorf("postgres: who am I: %w", err)
	}
	c := Cluster{Dir: h.Data("postgres"), Sockets: h.Socket("postgres"), Role: me.Username}
	if os.Getuid() == 0 {
		err = c.openAsRoot(h)
	} else {
		err = errors.Join(makeDir(c.Dir, nil), makeDir(c.Sockets, nil))
	}
	if err != nil {
		return Cluster{}, fmt.Errorf("postgres: %w", err)
	}
	made, err := version(c.Data())
	if err != nil {
		return Cluster{}, fmt.Errorf("postgres: %w", err)
	}
	c.Bin, err = find(programDirs, made)
	return c, err
}

func (c *Cluster) openAsRoot(h home.Home) error {
	cred, err := credential(systemUser)
	if err != nil {
		return err
	}
	c.User = cred
	if target, err := os.Readlink(c.Dir); err == nil {
		return c.useOutside(target)
	}
	// Of the home's own directories the group is given the right to pass; what is
	// above it must be open already.
	ok, err := home.Reachable(h.Root, cred.Uid, cred.Gid)
	if err != nil {
		return err
	}
	_, err = os.Lstat(c.Dir)
	switch exists := err == nil; {
	case ok:
		if err := h.LetPass(int(cred.Gid)); err != nil {
			return err
		}
		return errors.Join(makeDir(c.Dir, cred), makeDir(c.Sockets, cred))
	case exists:
		return fmt.Errorf("user %s cannot reach %s; let others pass the directories above it (chmod o+x), or move it", systemUser, c.Dir)
	}
	id := make([]byte, 6)
	_, _ = rand.Read(id)
	target := filepath.Join(outside, hex.EncodeToString(id))
	if err := makeOutside(); err != nil {
		return err
	}
	if err := c.useOutside(target); err != nil {
		return err
	}
	return os.Symlink(target, h.Data("postgres"))
}

// makeOutside makes the common parent of private directories, which all may pass
// whatever the umask says.
func makeOutside() error {
	err := os.Mkdir(outside, 0o711) //nolint:gosec // search only
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return errors.Join(err, os.Chmod(outside, 0o711)) //nolint:gosec // search only
}

// useOutside puts the cluster and its socket into target.
func (c *Cluster) useOutside(target string) error {
	if filepath.Dir(target) != outside {
		return fmt.Errorf("%s points to %s, outside of %s", c.Dir, target, outside)
	}
	c.Dir, c.Sockets = target, filepath.Join(target, "run")
	return errors.Join(makeDir(c.Dir, c.User), makeDir(c.Sockets, c.User))
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL refuses to run as root, and there is no system user %s to run it as; "+
			"run: apt-get install postgresql, or start gitsplit as an ordinary user", name)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// makeDir makes a directory, mode 0700, that belongs to cred (nil: to us). An
// existing one must be a directory of that user.
func makeDir(dir string, cred *syscall.Credential) error {
	uid, gid := os.Getuid(), -1
	if cred != nil {
		uid, gid = int(cred.Uid), int(cred.Gid)
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return os.Chown(dir, uid, gid)
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(owner.Uid) != uid || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is not a private directory of user %d", dir, uid)
	}
	return nil
}
