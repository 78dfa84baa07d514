package backup

import (
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
)

// manifest says what a backup is made of. Names, places and keys are those of
// GitLab's layout "manifest", whose tools can read it.
type manifest struct {
	Steps         []step `toml:"steps"`
	ObjectFormat  string `toml:"object_format"`
	HeadReference string `toml:"head_reference,omitempty"`
}

// step is a full backup, or what changed since the step before. All but the list of
// references may be missing.
type step struct {
	Bundle   string `toml:"bundle_path,omitempty"`
	Refs     string `toml:"ref_path"` // lines of "<id> <name>"
	Previous string `toml:"previous_ref_path,omitempty"`
	Hooks    string `toml:"custom_hooks_path,omitempty"`
}

// latest is the name of the manifest of the last backup.
const latest = "+latest"

// maxManifest bounds a manifest that is read.
const maxManifest = 4 << 20

var (
	validID      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	validStorage = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
)

// Place is where the backups of a repository are.
type Place string

// NewPlace returns the place for a repository, wherever it is itself.
func NewPlace(repo *gitalypb.Repository) (Place, error) {
	rel := repo.GetRelativePath()
	if !validStorage.MatchString(repo.GetStorageName()) || !filepath.IsLocal(rel) || strings.ContainsRune(rel, 0) || path.Clean(rel) == "." {
		return "", errs.New(errs.Invalid, "invalid vanity repository")
	}
	return Place(path.Join(repo.GetStorageName(), rel)), nil
}

func (p Place) manifest(id string) string { return path.Join("manifests", string(p), id+".toml") }

// step names the files of the n-th step.
func (p Place) step(folder string, n int) step {
	base := path.Join(string(p), folder, fmt.Sprintf("%03d", n))
	return step{Bundle: base + ".bundle", Refs: base + ".refs", Hooks: base + ".custom_hooks.tar"}
}

func (s *Store) readManifest(p Place, id string) (m manifest, err error) {
	f, err := s.open(p.manifest(id))
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := toml.NewDecoder(io.LimitReader(f, maxManifest)).Decode(&m); err != nil {
		return m, fmt.Errorf("read manifest: %w", err)
	}
	if len(m.Steps) == 0 {
		return m, fmt.Errorf("manifest %q has no steps", id)
	}
	return m, nil
}

func (s *Store) writeManifest(p Place, id string, m manifest) error {
	for _, name := range []string{id, latest} {
		if _, err := s.write(p.manifest(name), func(w io.Writer) error { return toml.NewEncoder(w).Encode(m) }); err != nil {
			return err
		}
	}
	return nil
}
