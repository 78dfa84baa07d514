package storage

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"gitsplit/kit/durable"
	"gitsplit/proto/go/gitalypb"
	"google.golang.org/protobuf/proto"
)

// Quarantine holds the new objects of an operation until the hooks have accepted
// them (wire/gitaly.md §13). Its Repo is the repository as git sees it with them.
type Quarantine struct {
	*Repo
	relative   string   // the object directory as requests name it
	alternates []string // likewise
}

// NewQuarantine makes an empty quarantine; Close removes it with what is in it. It
// reads from all that the repository does, also from the quarantine of a request.
func (r *Repo) NewQuarantine() (*Quarantine, error) {
	dir, err := r.TempDir(r.quarantinePrefix())
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(r.Dir, dir)
	if err != nil {
		return nil, fmt.Errorf("make quarantine: %w", err)
	}
	inside := *r
	inside.ObjectDir, inside.Alternates = dir, append([]string{filepath.Join(r.Dir, "objects")}, r.Alternates...)
	if r.ObjectDir != "" {
		inside.Alternates = append(inside.Alternates, r.ObjectDir)
	}
	q := &Quarantine{Repo: &inside, relative: rel}
	for _, a := range inside.Alternates {
		rel, err := filepath.Rel(r.Dir, a)
		if err != nil {
			return nil, fmt.Errorf("make quarantine: %w", err)
		}
		q.alternates = append(q.alternates, rel)
	}
	return q, nil
}

// TempDir makes a directory of our own beside the repositories, whose name begins
// with prefix. The caller removes it with RemoveTemp; what a killed gitaly leaves goes at the next
// start.
func (r *Repo) TempDir(prefix string) (string, error) {
	rel := filepath.Join(tmpDir, prefix+randomName())
	if err := r.Storage.root.Mkdir(rel, 0o700); err != nil {
		return "", fmt.Errorf("make temporary directory: %w", err)
	}
	return filepath.Join(r.Storage.Path, rel), nil
}

// quarantinePrefix binds the name of a quarantine to the repository it belongs to.
func (r *Repo) quarantinePrefix() string {
	sum := sha1.Sum([]byte(r.RelativePath))
	return "quarantine-" + hex.EncodeToString(sum[:8]) + "-"
}

// isQuarantine reports whether a path, relative to the repository, is one of its own
// quarantines.
func (r *Repo) isQuarantine(clean string) bool {
	dir, name := filepath.Split(filepath.Join(r.Dir, clean))
	random, ok := strings.CutPrefix(name, r.quarantinePrefix())
	return ok && randomPart.MatchString(random) && dir == filepath.Join(r.Storage.Path, tmpDir)+"/"
}

var randomPart = regexp.MustCompile(`^[A-Za-z0-9]{1,32}$`)

// Close removes the quarantine.
func (q *Quarantine) Close() error { return q.Storage.RemoveTemp(q.ObjectDir) }

// Message is a request's repository that reads from the quarantine too.
func (q *Quarantine) Message(msg *gitalypb.Repository) *gitalypb.Repository {
	out, _ := proto.Clone(msg).(*gitalypb.Repository)
	out.GitObjectDirectory, out.GitAlternateObjectDirectories = q.relative, q.alternates
	return out
}

// Env is what git would tell a hook of the quarantine.
func (q *Quarantine) Env() []string {
	return []string{"GIT_OBJECT_DIRECTORY=" + q.ObjectDir, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + strings.Join(q.Alternates, ":")}
}

// packOrder ranks the files of a pack: a reader that finds the index must find the
// rest. What is not listed goes first.
var packOrder = map[string]int{".keep": 1, ".pack": 2, ".rev": 3, ".idx": 4}

// migrated are the files that hold objects; the rest is what killed writers left.
var migrated = regexp.MustCompile(`^([0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})|pack/pack-[0-9a-f]+\.[a-z]+)$`)

// Migrate makes the objects part of the repository, durably: git has synced the
// files, here the directories that get new names are. Objects that are there
// already stay as they are.
func (q *Quarantine) Migrate() error {
	names, err := q.files()
	if err != nil {
		return fmt.Errorf("migrate objects: %w", err)
	}
	objects := filepath.Join(q.Dir, "objects")
	touched := map[string]bool{}
	for _, name := range names {
		dir := filepath.Join(objects, filepath.Dir(name))
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("migrate objects: %w", err)
		}
		if err := adopt(filepath.Join(q.ObjectDir, name), filepath.Join(objects, name)); err != nil {
			return fmt.Errorf("migrate objects: %w", err)
		}
		// Both, even if they were there: whoever made them may not have synced yet.
		touched[dir], touched[objects] = true, true
	}
	for dir := range touched {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// files lists what has objects in it, in the order of migration.
func (q *Quarantine) files() ([]string, error) {
	var names []string
	err := filepath.WalkDir(q.ObjectDir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(q.ObjectDir, path)
		if err == nil && d.Type().IsRegular() && migrated.MatchString(rel) {
			names = append(names, rel)
		}
		return err
	})
	slices.SortStableFunc(names, func(a, b string) int { return packOrder[filepath.Ext(a)] - packOrder[filepath.Ext(b)] })
	return names, err
}

// adopt gives a file its new name, unless it is taken.
func adopt(from, to string) error {
	err := os.Link(from, to)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(from, to) // a file system without hard links
}
