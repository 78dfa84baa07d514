package clone

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// snapshotObject is what a snapshot may hold below objects. Everything else there
// would tell git where to look for more.
var snapshotObject = regexp.MustCompile(`^objects/([0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})|pack/pack-[0-9a-f]{40,64}\.(pack|idx|rev|bitmap|mtimes))$`)

// FromSnapshot makes the repository from the tar of a snapshot: HEAD, references
// and objects. The content is checked as that of a push would be; what is not in
// order, or is no part of a snapshot, is errs.Invalid.
func (s *Service) FromSnapshot(ctx context.Context, repo *storage.Repo, snapshot io.Reader) error {
	return s.create(ctx, repo, remote.Facts{}, false, func(ctx context.Context, dir *gitcmd.Repo) error {
		if err := unpack(dir.Dir, tar.NewReader(snapshot), s.maxSnapshot); err != nil {
			return err
		}
		return s.check(ctx, dir)
	})
}

// check reads all objects and follows all references.
func (s *Service) check(ctx context.Context, dir *gitcmd.Repo) error {
	head, err := ref.Head(ctx, s.git, dir)
	if err == nil && !strings.HasPrefix(head, ref.Branches) {
		return errs.New(errs.Invalid, "the HEAD of the snapshot means no branch")
	}
	if err == nil {
		err = s.git.Run(ctx, dir, gitcmd.Spec{Name: "fsck", Flags: []string{"--no-progress", "--no-dangling"}})
	}
	var e *gitcmd.Error
	if errors.As(err, &e) && ctx.Err() == nil {
		return errs.Wrap(errs.Invalid, "the content of the snapshot is damaged", err)
	}
	return err
}

// unpack writes the files of a snapshot into a new repository, up to so many bytes.
func unpack(dir string, snapshot *tar.Reader, left int64) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack snapshot: %w", err)
	}
	defer func() { _ = root.Close() }()
	for {
		h, err := snapshot.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errs.Wrap(errs.Invalid, "the snapshot is not a tar file", err)
		}
		name, wanted, err := snapshotName(h)
		if err != nil {
			return err
		}
		if !wanted {
			continue
		}
		if left -= h.Size; left < 0 {
			return errs.New(errs.Exhausted, "the snapshot is larger than remote.max_snapshot_bytes")
		}
		if err := writeFile(root, name, snapshot); err != nil {
			return fmt.Errorf("unpack snapshot: %w", err)
		}
	}
}

// snapshotName returns the path of an entry, and whether it is a file to unpack.
func snapshotName(h *tar.Header) (name string, wanted bool, err error) {
	name = path.Clean(h.Name)
	switch h.Typeflag {
	case tar.TypeDir:
		return name, false, nil // made when a file needs it
	case tar.TypeReg:
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes would become any number of zeros
				return name, false, errs.New(errs.Invalid, "the snapshot has a file with holes")
			}
		}
	default:
		return name, false, errs.New(errs.Invalid, "the snapshot has an entry that is no file")
	}
	switch {
	case name == "HEAD" || name == "packed-refs" || ref.Valid(name):
		return name, true, nil
	case snapshotObject.MatchString(name):
		return name, true, nil
	}
	return name, false, errs.Newf(errs.Invalid, "the snapshot has a file that is no part of one: %q", name)
}

func writeFile(root *os.Root, name string, content io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) { // HEAD is there already
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Close())
}
