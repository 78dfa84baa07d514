package object

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Edit is a tree that is being changed. Only the directories on the way to a change
// are read and written. Paths are clean. It is not safe for concurrent use.
type Edit struct {
	objects *Reader
	root    *node
}

// node is an entry of a tree; entries is nil for a directory that was not looked at.
type node struct {
	mode    int32
	oid     string // "" for a directory that is not written yet
	entries map[string]*node
}

// NewEdit begins with a tree; "" is an empty one. objects reads what is there.
func NewEdit(objects *Reader, tree string) *Edit {
	root := &node{mode: modeTree, oid: tree}
	if tree == "" {
		root.entries = map[string]*node{}
	}
	return &Edit{objects: objects, root: root}
}

// Get returns what is at a path. Nothing is errs.NotFound.
func (e *Edit) Get(path string) (Entry, error) {
	at := e.root
	for name := range strings.SplitSeq(path, "/") {
		if err := e.open(at); err != nil {
			return Entry{}, err
		}
		if at = at.entries[name]; at == nil {
			return Entry{}, errs.New(errs.NotFound, "path not found")
		}
	}
	return Entry{Mode: at.mode, Path: path, OID: at.oid}, nil
}

// open reads the entries of a directory; what is none has none.
func (e *Edit) open(n *node) error {
	if n.entries != nil || n.mode&modeMask != modeTree {
		return nil
	}
	list, err := e.objects.Tree(n.oid, "")
	if err != nil {
		return err
	}
	n.entries = make(map[string]*node, len(list))
	for _, entry := range list {
		n.entries[entry.Path] = &node{mode: entry.Mode, oid: entry.OID}
	}
	return nil
}

// Set puts an entry at a path, in place of what is there; directories on the way are
// made. A file on the way is errs.Exists.
func (e *Edit) Set(path string, mode int32, oid string) error {
	dirs := strings.Split(path, "/")
	if len(dirs) > maxDepth {
		return errs.New(errs.FailedPrecondition, "tree is too deep")
	}
	at := e.root
	for i, name := range dirs {
		if err := e.open(at); err != nil {
			return err
		}
		at.oid = ""
		next := at.entries[name]
		switch {
		case i == len(dirs)-1:
			at.entries[name] = &node{mode: mode, oid: oid}
		case next == nil:
			next = &node{mode: modeTree, entries: map[string]*node{}}
			at.entries[name] = next
		case next.mode&modeMask != modeTree:
			return errs.Newf(errs.Exists, "%q is a file", strings.Join(dirs[:i+1], "/"))
		}
		at = next
	}
	return nil
}

// Remove takes an entry away, and the directories that are empty then. Nothing there
// is errs.NotFound.
func (e *Edit) Remove(path string) error {
	if _, err := e.Get(path); err != nil {
		return err
	}
	e.root.remove(strings.Split(path, "/"))
	return nil
}

func (n *node) remove(path []string) {
	n.oid = ""
	next := n.entries[path[0]]
	if len(path) > 1 {
		next.remove(path[1:])
	}
	if len(path) == 1 || len(next.entries) == 0 {
		delete(n.entries, path[0])
	}
}

// Write writes the directories that have changed and returns the id of the tree.
func (e *Edit) Write(ctx context.Context, git Starter, repo *gitcmd.Repo) (_ string, err error) {
	if e.root.oid != "" {
		return e.root.oid, nil
	}
	// Entries are not looked up: they are in the old tree or have just been written,
	// but for the commits of submodules, which are not here at all.
	d, err := converse(ctx, git, repo, gitcmd.Spec{Name: "mktree", Flags: []string{"-z", "--batch", "--missing"}})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.end()) }()
	if err := e.root.write(d); err != nil {
		return "", err
	}
	return e.root.oid, nil
}

func (n *node) write(d *dialogue) error {
	if n.oid != "" {
		return nil
	}
	var list strings.Builder
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		entry := n.entries[name]
		if err := entry.write(d); err != nil {
			return err
		}
		fmt.Fprintf(&list, "%06o %s %s\t%s\x00", entry.mode, Entry{Mode: entry.mode}.Type(), entry.oid, name)
	}
	list.WriteByte(0)
	oid, err := d.oid(list.String())
	if err != nil {
		return fmt.Errorf("write tree: %w", err)
	}
	n.oid = oid
	return nil
}
