package peer

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"gitsplit/bench/internal/fixture"
)

// files are repositories below a directory, which other servers serve or nobody does.
type files struct {
	dir   string
	own   owner
	extra []string // configuration of each repository
}

// Files is git alone, on a local path: the floor for everybody else. hidden names
// references that it hides as gitaly does.
func Files(s *Site, hidden string) Remote {
	f := &files{dir: filepath.Join(s.Dir, "files"), extra: []string{"uploadpack.hideRefs", hidden}}
	return Remote{
		Name: "file://", Server: f, Dir: f.path,
		URL: func(repo string) string { return "file://" + f.path(repo) },
	}
}

func (f *files) path(repo string) string { return filepath.Join(f.dir, repo+".git") }

// Place puts a copy of r below the directory.
func (f *files) Place(ctx context.Context, name string, r fixture.Repo) error {
	if err := f.Empty(ctx, name); err != nil {
		return err
	}
	if err := fixture.Place(r, f.path(name)); err != nil {
		return err
	}
	return f.own.give(f.path(name))
}

// Empty makes an empty repository below the directory.
func (f *files) Empty(ctx context.Context, name string) error {
	if err := os.RemoveAll(f.path(name)); err != nil {
		return err
	}
	if err := bare(ctx, f.path(name), f.extra...); err != nil {
		return err
	}
	return f.own.give(f.path(name))
}

func (f *files) Roots() []int       { return nil }
func (f *files) CPU() time.Duration { return 0 }
func (f *files) Close() error       { return nil }
