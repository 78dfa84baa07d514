// Package suspect remembers, across restarts, which repositories may not be on the disk
// as they look: a sync or a write in them has failed. Such an error ends what wanted it,
// is not tried again into a success (the kernel forgets what it could not write), and
// housekeeping lets git check the repository before it touches anything in it.
package suspect

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gitsplit/kit/durable"
	"gitsplit/services/gitaly/internal/storage"
)

// dir holds a file for each mark, below a storage's own directory.
const dir = "checks"

// Options is what Marks need.
type Options struct {
	Log *slog.Logger
	// Due is told of each new mark, so that somebody checks soon.
	Due func(storageName, path string)
}

// Marks are those of all storages. They are safe for concurrent use.
type Marks struct {
	o  Options
	mu sync.Mutex
	by map[string]map[string]bool // path of the repository, by storage
}

// Open reads the marks that are there.
func Open(o Options, storages ...*storage.Storage) (*Marks, error) {
	m := &Marks{o: o, by: map[string]map[string]bool{}}
	for _, st := range storages {
		paths, err := read(filepath.Join(st.Own(), dir))
		if err != nil {
			return nil, fmt.Errorf("storage %q: marks of repositories to check: %w", st.Name, err)
		}
		m.by[st.Name] = paths
	}
	return m, nil
}

func read(dir string) (map[string]bool, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	paths := map[string]bool{}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") { // of a write that did not come to its end
			if err := os.Remove(file); err != nil {
				return nil, err
			}
			continue
		}
		path, err := os.ReadFile(file) //nolint:gosec // a file of ours
		if err != nil {
			return nil, err
		}
		paths[string(path)] = true
	}
	return paths, durable.SyncDir(filepath.Dir(dir))
}

// Mark marks a repository because of an error. When the mark cannot be written, it
// holds until the process ends.
func (m *Marks) Mark(ctx context.Context, repo *storage.Repo, cause error) {
	m.mu.Lock()
	known := m.by[repo.Storage.Name][repo.RelativePath]
	m.by[repo.Storage.Name][repo.RelativePath] = true
	m.mu.Unlock()
	m.o.Log.ErrorContext(ctx, "repository is marked for a check", slog.String("storage", repo.Storage.Name),
		slog.String("repository", repo.RelativePath), slog.Any("error", cause))
	if known {
		return
	}
	if err := durable.WriteFile(file(repo), []byte(repo.RelativePath), 0o600); err != nil {
		m.o.Log.ErrorContext(ctx, "mark of a repository cannot be written", slog.String("repository", repo.RelativePath), slog.Any("error", err))
	}
	m.o.Due(repo.Storage.Name, repo.RelativePath)
}

func file(repo *storage.Repo) string {
	sum := sha256.Sum256([]byte(repo.RelativePath))
	return filepath.Join(repo.Storage.Own(), dir, hex.EncodeToString(sum[:]))
}

// Marked reports whether a repository is to be checked.
func (m *Marks) Marked(repo *storage.Repo) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.by[repo.Storage.Name][repo.RelativePath]
}

// Clear takes the mark off: the repository has been checked and is well, or is gone.
func (m *Marks) Clear(repo *storage.Repo) error {
	if err := os.Remove(file(repo)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear mark of repository: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.by[repo.Storage.Name], repo.RelativePath)
	return nil
}

// List returns the paths of the repositories of a storage that are marked.
func (m *Marks) List(storageName string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var paths []string
	for path := range m.by[storageName] {
		paths = append(paths, path)
	}
	return paths
}
