package senddata

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// cache is a directory of archives. It is entered through a root handle: no name and
// no link leads out of it (security-baseline.md C2, C5).
type cache struct{ root *os.Root }

func openCache(dir string) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &cache{root: root}, nil
}

func (c *cache) close() { _ = c.root.Close() } // nothing is written through it

// open returns a kept archive; what is none is fs.ErrNotExist.
func (c *cache) open(entry string) (*os.File, error) {
	f, err := c.root.OpenFile(entry, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// draftPrefix begins the names of archives that are not whole yet.
const draftPrefix = ".draft-"

// draft is an archive that is being written. Its first failure ends it; the archive
// goes on to the client.
type draft struct {
	root        *os.Root
	file        *os.File
	name, entry string
	left        int64
	failed      error
}

// create begins an archive of at most limit bytes.
func (c *cache) create(entry string, limit int64) (*draft, error) {
	dir, base := filepath.Split(entry)
	if err := c.root.MkdirAll(filepath.Clean(dir), 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(dir, draftPrefix+rand.Text()+"-"+base)
	f, err := c.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return &draft{root: c.root, file: f, name: name, entry: entry, left: limit}, nil
}

var errNoRoom = errors.New("the archive is larger than the cache")

func (d *draft) write(p []byte) {
	if d.failed != nil {
		return
	}
	if d.left -= int64(len(p)); d.left < 0 {
		d.failed = errNoRoom
		return
	}
	_, d.failed = d.file.Write(p)
}

// keep makes the archive one that is found. Another request may have been faster.
func (d *draft) keep() error {
	if d.failed == nil {
		d.failed = d.file.Sync() // a name must not outlive the bytes
	}
	if d.failed != nil {
		return errors.Join(d.failed, d.discard())
	}
	err := d.root.Link(d.name, d.entry)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return errors.Join(err, d.discard())
}

// discard removes the draft.
func (d *draft) discard() error {
	if err := errors.Join(d.file.Close(), d.root.Remove(d.name)); err != nil {
		return fmt.Errorf("remove a draft: %w", err)
	}
	return nil
}

// isArchive knows the files that workhorse has put into a cache.
func isArchive(name string) bool {
	for _, end := range []string{".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2", ".tb2"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
