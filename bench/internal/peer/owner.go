package peer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// owner is a system user that a peer runs as; the zero value is ourselves.
type owner struct {
	name     string
	uid, gid int
}

// newOwner makes a system user for this run. OpenSSH logs in real users only, and
// their login shell is part of what is compared. Only root can.
func newOwner(ctx context.Context, name, home, shell string) (owner, error) {
	if os.Getuid() != 0 {
		return owner{}, errors.New("making a system user for it needs root")
	}
	if _, err := user.Lookup(name); err == nil { // left by a run that was killed
		if err := (owner{name: name}).remove(); err != nil {
			return owner{}, err
		}
	}
	if err := os.MkdirAll(home, 0o755); err != nil { //nolint:gosec // as homes are
		return owner{}, err
	}
	// The password * matches none and, unlike !, does not lock the account.
	cmd := exec.CommandContext(ctx, "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", home, "--shell", shell, "--password", "*", name) //nolint:gosec // fixed names
	if out, err := cmd.CombinedOutput(); err != nil {
		return owner{}, fmt.Errorf("useradd: %w: %s", err, out)
	}
	u, err := user.Lookup(name)
	if err != nil {
		return owner{}, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	o := owner{name: name, uid: uid, gid: gid}
	return o, errors.Join(err1, err2, o.give(home))
}

// remove removes the user; the files go with the site.
func (o owner) remove() error {
	if o.name == "" {
		return nil
	}
	cmd := exec.Command("userdel", o.name) //nolint:gosec,noctx // also after the end of a run
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("userdel: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// give makes all files below dir the user's, but for packs, which are links to files
// that others read too.
func (o owner) give(dir string) error {
	if o.name == "" {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || (!d.IsDir() && filepath.Base(filepath.Dir(path)) == "pack") {
			return err
		}
		return os.Lchown(path, o.uid, o.gid) //nolint:gosec // nobody but the run writes there
	})
}

// as makes cmd run as the user, in home.
func (o owner) as(cmd *exec.Cmd, home string) {
	cmd.Dir = home
	cmd.Env = []string{"HOME=" + home, "USER=" + o.name, "LOGNAME=" + o.name, "PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)}}
}
