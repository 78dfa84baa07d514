package storage

import (
	"path/filepath"
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// objectDir is what an object directory of a request may be: the repository's
// own, or a quarantine that receive-pack made inside it. It is relative to the
// repository, and so cannot belong to another one (security-baseline.md C3). The
// quarantine of an operation is elsewhere, and says in its name whose it is.
var objectDir = regexp.MustCompile(`^objects(/tmp_objdir-incoming-[A-Za-z0-9]{1,32})?$`)

// setQuarantine takes over the object directories of a request.
func (r *Repo) setQuarantine(msg *gitalypb.Repository) error {
	if msg.GetGitObjectDirectory() == "" {
		if len(msg.GetGitAlternateObjectDirectories()) > 0 {
			return errs.New(errs.Invalid, "alternate object directories without an object directory")
		}
		return nil
	}
	dir, err := r.objectDirectory(msg.GetGitObjectDirectory())
	if err != nil {
		return err
	}
	var alternates []string
	for _, a := range msg.GetGitAlternateObjectDirectories() {
		path, err := r.objectDirectory(a)
		if err != nil {
			return err
		}
		alternates = append(alternates, path)
	}
	r.ObjectDir, r.Alternates = dir, alternates
	return nil
}

func (r *Repo) objectDirectory(rel string) (string, error) {
	clean := filepath.Clean(rel)
	if strings.ContainsRune(rel, 0) || !objectDir.MatchString(clean) && !r.isQuarantine(clean) {
		return "", errs.Newf(errs.Invalid, "object directory %q does not belong to the repository", rel)
	}
	info, err := r.Storage.root.Lstat(filepath.Join(r.RelativePath, clean))
	if err != nil || !info.IsDir() {
		return "", errs.Newf(errs.Invalid, "object directory %q does not exist", rel)
	}
	return filepath.Join(r.Dir, clean), nil
}

// RelativeObjectDirs turns the absolute object directories that git tells a hook
// into paths relative to the repository, the form of requests (wire/gitaly.md
// §6.8). Directories of anything else are refused.
func (r *Repo) RelativeObjectDirs(absolute ...string) ([]string, error) {
	out := make([]string, 0, len(absolute))
	for _, dir := range absolute {
		rel, err := filepath.Rel(r.Dir, dir)
		if err != nil {
			return nil, errs.Newf(errs.Invalid, "object directory %q does not belong to the repository", dir)
		}
		if _, err := r.objectDirectory(rel); err != nil {
			return nil, err
		}
		out = append(out, rel)
	}
	return out, nil
}
