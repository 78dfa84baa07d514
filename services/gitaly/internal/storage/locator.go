package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Repo is a repository's place. Its gitcmd part is what git is started with.
type Repo struct {
	gitcmd.Repo
	Storage      *Storage
	RelativePath string
}

// Locator finds repositories.
type Locator struct {
	storages []*Storage
}

// NewLocator returns a locator over opened storages.
func NewLocator(storages ...*Storage) *Locator { return &Locator{storages: storages} }

// Storages returns the storages in the order of the configuration.
func (l *Locator) Storages() []*Storage { return l.storages }

// Locate checks what a request says and returns the place it names, whether or
// not a repository is there. Errors and texts: wire/gitaly.md §5.1.
func (l *Locator) Locate(msg *gitalypb.Repository) (*Repo, error) {
	name, rel := msg.GetStorageName(), msg.GetRelativePath()
	switch {
	case name == "" && rel == "":
		return nil, errs.New(errs.Invalid, "repository not set")
	case rel == "":
		return nil, errs.New(errs.Invalid, "repository path not set")
	case name == "":
		return nil, errs.New(errs.Invalid, "storage name not set")
	}
	s, err := l.Storage(name)
	if err != nil {
		return nil, err
	}
	if err := s.present(); err != nil {
		return nil, err
	}
	clean, err := localPath(rel)
	if err != nil {
		return nil, err
	}
	return &Repo{
		Repo:    gitcmd.Repo{Name: name + "/" + clean, Dir: filepath.Join(s.Path, clean)},
		Storage: s, RelativePath: clean,
	}, nil
}

// Storage finds a storage by name.
func (l *Locator) Storage(name string) (*Storage, error) {
	for _, s := range l.storages {
		if s.Name == name {
			return s, nil
		}
	}
	return nil, errs.New(errs.Invalid, "storage name not found")
}

// localPath cleans a relative path, which must stay inside and out of our own
// directory.
func localPath(rel string) (string, error) {
	clean := filepath.Clean(rel)
	first, _, _ := strings.Cut(clean, "/")
	if strings.ContainsRune(rel, 0) || !filepath.IsLocal(rel) || clean == "." || first == ownDir || first == markerName {
		return "", errs.New(errs.Invalid, "relative path escapes root directory")
	}
	return clean, nil
}

// Find returns the repository that a request names, with its quarantine if the
// request has one. The repository must be valid.
func (l *Locator) Find(msg *gitalypb.Repository) (*Repo, error) {
	repo, err := l.Locate(msg)
	if err != nil {
		return nil, err
	}
	if err := repo.validate(); err != nil {
		return nil, err
	}
	return repo, repo.setQuarantine(msg)
}

// Exists reports whether a valid repository is at the place.
func (r *Repo) Exists() (bool, error) {
	err := r.validate()
	switch errs.KindOf(err) {
	case errs.NotFound, errs.FailedPrecondition:
		return false, nil
	default:
		return err == nil, err
	}
}

// validate looks at the directory and what makes it a repository.
func (r *Repo) validate() error {
	part := ""
	for elem := range strings.SplitSeq(r.RelativePath, "/") {
		part = filepath.Join(part, elem)
		info, err := r.Storage.root.Lstat(part)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
			return errs.New(errs.NotFound, "repository not found")
		case err != nil:
			return err
		case !info.IsDir(): // a symbolic link is not followed (security-baseline.md C2)
			return errs.New(errs.NotFound, "repository not found")
		}
	}
	for _, entry := range parts {
		if !r.has(entry) {
			return errs.Newf(errs.FailedPrecondition, "repository not valid: %q does not exist", entry)
		}
	}
	return nil
}

// parts are what makes a directory a repository.
var parts = []string{"objects", "refs", "HEAD"} //nolint:gochecknoglobals // a constant

func (r *Repo) has(entry string) bool {
	info, err := r.Storage.root.Lstat(filepath.Join(r.RelativePath, entry))
	return err == nil && info.Mode()&os.ModeSymlink == 0
}
