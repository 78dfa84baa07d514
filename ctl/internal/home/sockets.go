package home

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// The address of a Unix socket holds 107 bytes. socketReserve is what the longest
// name below the socket directory needs (gitaly's internal socket,
// gitaly-<pid>/sock.d/intern, and PostgreSQL's lock file are near 30).
const (
	socketMax     = 107
	socketReserve = 40
)

// plainPath is a path that needs no quoting in any file or URL that names a socket.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9._/+@-]+$`)

// socketDir returns run below root, or for a long or unusual root a directory in
// /tmp that follows from the user and the root, so that every call finds it again.
func socketDir(root string, uid int) string {
	dir := filepath.Join(root, "run")
	if len(dir)+socketReserve <= socketMax && plainPath.MatchString(dir) {
		return dir
	}
	sum := sha256.Sum256([]byte(root))
	return "/tmp/gitsplit-" + strconv.Itoa(uid) + "-" + hex.EncodeToString(sum[:6])
}

// ClearSockets removes sockets and run-time directories that an ended supervisor
// or its services left. Call it only while holding the lock.
func (h Home) ClearSockets() error {
	entries, err := os.ReadDir(h.Sockets)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clear sockets: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if entry.Type()&os.ModeSocket != 0 || entry.IsDir() || strings.HasSuffix(entry.Name(), ".sock") {
			errs = append(errs, os.RemoveAll(filepath.Join(h.Sockets, entry.Name())))
		}
	}
	if h.Sockets != h.Run() {
		errs = append(errs, os.RemoveAll(h.Sockets))
	}
	return errors.Join(errs...)
}
