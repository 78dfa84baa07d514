package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/durable"
)

// Where git reads from which other object directories a repository borrows, and
// where that is while the repository is being made independent. Who finds only the
// latter puts it back: to borrow what one does not need does no harm.
const (
	alternatesFile     = "objects/info/alternates"
	SuspendedFile      = "objects/info/alternates.suspended"
	maxAlternatesBytes = 64 << 10
)

// Borrows returns the object directories that the repository borrows from, as
// they stand in its file.
func (r *Repo) Borrows() ([]string, error) {
	f, err := r.Storage.root.Open(filepath.Join(r.RelativePath, alternatesFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read alternates: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw := make([]byte, maxAlternatesBytes)
	n, err := f.Read(raw)
	if err != nil && n > 0 || n == len(raw) {
		return nil, fmt.Errorf("read alternates: %w", errors.Join(err, fs.ErrInvalid))
	}
	var dirs []string
	for line := range strings.SplitSeq(string(raw[:n]), "\n") {
		if line != "" && line[0] != '#' {
			dirs = append(dirs, line)
		}
	}
	return dirs, nil
}

// ObjectsFrom is the object directory of another repository of the storage as git
// finds it from this one's: relative to its objects.
func (r *Repo) ObjectsFrom(other *Repo) (string, error) {
	rel, err := filepath.Rel(filepath.Join(r.Dir, "objects"), filepath.Join(other.Dir, "objects"))
	if err != nil {
		return "", fmt.Errorf("find the way to other objects: %w", err)
	}
	return rel, nil
}

// Lender returns the place of the repository whose objects an entry of Borrows
// means, relative to the storage; "" if that is outside of it.
func (r *Repo) Lender(entry string) string {
	if filepath.IsAbs(entry) {
		rel, err := filepath.Rel(r.Storage.Path, entry)
		if err != nil {
			return ""
		}
		entry = rel
	} else {
		entry = filepath.Join(r.RelativePath, "objects", entry)
	}
	repo, ok := strings.CutSuffix(entry, "/objects")
	if !ok || !filepath.IsLocal(repo) {
		return ""
	}
	return repo
}

// Borrow makes the repository borrow from an object directory, durably.
func (r *Repo) Borrow(entry string) error {
	tmp := tmpDir + "/alternates-" + randomName()
	err := writeDurable(r.Storage.root, tmp, []byte(entry))
	if err == nil {
		err = r.Storage.root.MkdirAll(filepath.Join(r.RelativePath, filepath.Dir(alternatesFile)), 0o700)
	}
	if err == nil {
		err = r.Storage.root.Rename(tmp, filepath.Join(r.RelativePath, alternatesFile))
	}
	if err != nil {
		return fmt.Errorf("write alternates: %w", err)
	}
	return r.syncInfo()
}

// Suspend ends the borrowing until Resume, or for good with Forget. Crashes in
// between resume it.
func (r *Repo) Suspend() error {
	root, file := r.Storage.root, filepath.Join(r.RelativePath, alternatesFile)
	now := time.Now() // not to be taken for something old
	err := errors.Join(root.Chtimes(file, now, now), root.Rename(file, filepath.Join(r.RelativePath, SuspendedFile)))
	if err != nil {
		return fmt.Errorf("suspend alternates: %w", err)
	}
	return r.syncInfo()
}

// Resume takes back what Suspend did, unless somebody has.
func (r *Repo) Resume() error {
	err := r.Storage.root.Rename(filepath.Join(r.RelativePath, SuspendedFile), filepath.Join(r.RelativePath, alternatesFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("resume alternates: %w", err)
	}
	return r.syncInfo()
}

// Forget makes a suspension final. It reports whether there still was one.
func (r *Repo) Forget() (bool, error) {
	err := r.Storage.root.Remove(filepath.Join(r.RelativePath, SuspendedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("forget alternates: %w", err)
	}
	return true, r.syncInfo()
}

func (r *Repo) syncInfo() error {
	return durable.SyncDir(filepath.Join(r.Dir, filepath.Dir(alternatesFile)))
}

// RemoveBitmaps removes the bitmaps of the packs of the repository itself.
func (r *Repo) RemoveBitmaps() error {
	bitmaps, err := r.bitmapFiles()
	if err != nil {
		return err
	}
	for _, name := range bitmaps {
		if err := r.Storage.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove bitmap: %w", err)
		}
	}
	return nil
}

// HasBitmap reports whether a pack of the repository has a bitmap.
func (r *Repo) HasBitmap() (bool, error) {
	bitmaps, err := r.bitmapFiles()
	return len(bitmaps) > 0, err
}

func (r *Repo) bitmapFiles() ([]string, error) {
	dir := filepath.Join(r.RelativePath, "objects/pack")
	entries, err := fs.ReadDir(r.Storage.root.FS(), dir)
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".bitmap" {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, nil
}
