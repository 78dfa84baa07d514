package object

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"path"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
)

// Entry is one name in a tree.
type Entry struct {
	Mode int32  // as in git: 0100644, 040000, 0160000, …
	Path string // from the root of the commit
	OID  string
}

// Modes that say what an entry is.
const (
	modeTree    = 0o040000
	modeGitlink = 0o160000
	modeRegular = 0o100000
	modeMask    = 0o170000
)

// Type is tree, commit (a submodule) or blob.
func (e Entry) Type() string {
	switch e.Mode & modeMask {
	case modeTree:
		return "tree"
	case modeGitlink:
		return "commit"
	}
	return "blob"
}

// Regular reports whether the entry is a file, and no symbolic link.
func (e Entry) Regular() bool { return e.Mode&modeMask == modeRegular }

// maxPath bounds a path, in bytes: it may become an argument of git.
const maxPath = 64 << 10

// maxDepth bounds how deep trees are followed (security-baseline.md §12).
const maxDepth = 2048

// EmptyTree is the id of the tree without entries, beside ids like the given; git knows
// it without having it.
func EmptyTree(like string) string {
	if len(like) == 64 {
		return "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
	}
	return "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
}

// Tree reads the entries of a tree object; dir is the path to put before them.
func (r *Reader) Tree(oid, dir string) ([]Entry, error) {
	_, raw, err := r.Contents(oid, "tree")
	if err != nil {
		return nil, err
	}
	return parseTree(raw, len(oid)/2, dir)
}

// parseTree reads "<octal mode> <name> NUL <binary id>", repeated.
func parseTree(raw []byte, idLen int, dir string) ([]Entry, error) {
	var entries []Entry
	for len(raw) > 0 {
		head, rest, found := bytes.Cut(raw, []byte{0})
		modeText, name, ok := strings.Cut(string(head), " ")
		mode, err := strconv.ParseInt(modeText, 8, 32)
		if !found || !ok || err != nil || name == "" || len(rest) < idLen {
			return nil, fmt.Errorf("malformed tree in %q", dir)
		}
		full := name
		if dir != "" {
			full = dir + "/" + name
		}
		entries = append(entries, Entry{Mode: int32(mode), Path: full, OID: hex.EncodeToString(rest[:idLen])}) //nolint:gosec // parsed with 32 bits
		raw = rest[idLen:]
	}
	return entries, nil
}

// RootTree returns the id of the tree that a revision stands for.
func (r *Reader) RootTree(revision string) (string, error) {
	info, err := r.Info(revision + "^{tree}")
	if err != nil {
		return "", err
	}
	return info.OID, nil
}

// CleanPath normalises a path inside a repository: no leading or trailing slash,
// "" for the root. One that leads out is errs.Invalid.
func CleanPath(p string) (string, error) {
	if len(p) > maxPath {
		return "", errs.New(errs.Invalid, "path is too long")
	}
	clean := path.Clean("/" + p)[1:]
	if strings.ContainsRune(p, 0) || strings.HasPrefix(path.Clean(p), "..") {
		return "", errs.New(errs.Invalid, "path is outside of the repository")
	}
	return clean, nil
}

// Find follows a clean path from a root tree. The path "" is the root itself. What
// is not there is errs.NotFound.
func (r *Reader) Find(rootTree, clean string) (Entry, error) {
	entry := Entry{Mode: modeTree, OID: rootTree}
	if clean == "" {
		return entry, nil
	}
	for depth, name := range strings.Split(clean, "/") {
		if entry.Type() != "tree" || depth > maxDepth {
			return Entry{}, errs.New(errs.NotFound, "path not found")
		}
		entries, err := r.Tree(entry.OID, entry.Path)
		if err != nil {
			return Entry{}, err
		}
		next := path.Join(entry.Path, name)
		found := false
		for _, e := range entries {
			if e.Path == next {
				entry, found = e, true
				break
			}
		}
		if !found {
			return Entry{}, errs.New(errs.NotFound, "path not found")
		}
	}
	return entry, nil
}

// Walk calls each for every entry below a tree, parents first, in git's order. An
// error of each ends it.
func (r *Reader) Walk(tree Entry, each func(Entry) error) error { return r.walk(tree, 0, each) }

func (r *Reader) walk(tree Entry, depth int, each func(Entry) error) error {
	if depth > maxDepth {
		return errs.New(errs.FailedPrecondition, "tree is too deep")
	}
	entries, err := r.Tree(tree.OID, tree.Path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := each(e); err != nil {
			return err
		}
		if e.Type() == "tree" {
			if err := r.walk(e, depth+1, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flat follows a tree that holds nothing but one other tree, down to where there is
// something to see, and returns the path there.
func (r *Reader) Flat(tree Entry) (string, error) {
	for range maxDepth {
		entries, err := r.Tree(tree.OID, tree.Path)
		if err != nil {
			return "", err
		}
		if len(entries) != 1 || entries[0].Type() != "tree" {
			break
		}
		tree = entries[0]
	}
	return tree.Path, nil
}
