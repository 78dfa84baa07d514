package pack

import (
	"os"
	"path/filepath"
	"strings"

	"gitsplit/services/gitaly/internal/storage"
)

// looseSample is a directory of loose objects, whose names are spread evenly over 256
// such; with looseMany in it there are a thousand.
const (
	looseSample = "objects/17"
	looseMany   = 4
)

// fetching counts a fetch from the repository until the returned function is called,
// and reports whether there are others.
func (s *Service) fetching(repo *storage.Repo) (others bool, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches[repo.Dir]++
	return s.fetches[repo.Dir] > 1, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.fetches[repo.Dir]--; s.fetches[repo.Dir] == 0 {
			delete(s.fetches, repo.Dir)
		}
	}
}

// worthSharing reports whether packs of the repository are so costly that even a lone
// fetch starts gitaly-hooks to look for one in the cache: for a small repository that
// takes longer than git's own work.
func (s *Service) worthSharing(repo *storage.Repo) bool {
	if _, err := os.Stat(filepath.Join(repo.Dir, "objects/info/alternates")); err == nil {
		return true // its size is that of another one
	}
	loose, _ := os.ReadDir(filepath.Join(repo.Dir, looseSample)) // most have none
	if len(loose) >= looseMany {
		return true
	}
	var size int64
	files, _ := os.ReadDir(filepath.Join(repo.Dir, "objects/pack"))
	for _, f := range files {
		if info, err := f.Info(); err == nil && strings.HasSuffix(f.Name(), ".pack") {
			size += info.Size()
		}
	}
	return size >= s.o.ShareFrom
}
