package home

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// ErrLocked says that another process holds the home's lock.
var ErrLocked = errors.New("already in use")

// Lock takes the home's lock until the returned function is called or the process
// ends, however it ends. If another process has it, the error is ErrLocked and
// says which one. The file stays: removing it would let two hold "the" lock.
func (h Home) Lock() (unlock func(), err error) {
	f, err := os.OpenFile(h.Run("lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is %w by gitsplit, process %s; stop it first, or set GITSPLIT_HOME to another directory",
				h.Root, ErrLocked, holder(f))
		}
		return nil, fmt.Errorf("lock %s: %w", h.Root, err)
	}
	if err := errors.Join(f.Truncate(0), writeHolder(f)); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write the lock: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

// Locked reports whether a process holds the lock now.
func (h Home) Locked() bool {
	f, err := os.OpenFile(h.Run("lock"), os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

func writeHolder(f *os.File) error {
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}

func holder(f *os.File) string {
	text := make([]byte, 32)
	n, _ := f.ReadAt(text, 0)
	if pid := strings.TrimSpace(string(text[:n])); pid != "" {
		return pid
	}
	return "(unknown)"
}
