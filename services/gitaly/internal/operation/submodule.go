package operation

import (
	"errors"

	"gitsplit/kit/errs"
)

// Failures of a submodule's update.
var (
	ErrNoSubmodule = errors.New("no submodule at the path")
	ErrSameCommit  = errors.New("the submodule is at that commit already")
)

// SetSubmodule points a submodule at another commit, which is not looked for: it is in
// another repository.
func (f *Files) SetSubmodule(given, oid string) error {
	clean, err := cleanPath(given)
	if err != nil {
		return ErrNoSubmodule
	}
	entry, err := f.tree.Get(clean)
	switch {
	case errs.KindOf(err) == errs.NotFound:
		return ErrNoSubmodule
	case err != nil:
		return err
	case entry.Type() != "commit":
		return ErrNoSubmodule
	case entry.OID == oid:
		return ErrSameCommit
	}
	return f.tree.Set(clean, entry.Mode, oid)
}
