package diff

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/ref"
)

// Modes of what can be compared.
const (
	modeFile    = 0o100644
	modeGitlink = 0o160000
	modeMask    = 0o170000
)

// Blobs compares pairs of blobs: OldID and NewID of changes, with their modes, 0 being
// a plain file. sink receives a file for each of them, in their order.
//
// One git compares them all, as the entries of two trees that are written to scratch:
// the repository with a quarantine that is thrown away.
func Blobs(ctx context.Context, git Git, scratch *gitcmd.Repo, pairs []Change, o Options, sink Sink) error {
	if len(pairs) == 0 {
		return nil
	}
	pairs = slices.Clone(pairs)
	var left, right strings.Builder
	for i := range pairs {
		p := &pairs[i]
		if err := p.prepare(); err != nil {
			return err
		}
		entry(&left, i, p.OldID, p.OldMode)
		entry(&right, i, p.NewID, p.NewMode)
	}
	r := Range{}
	for _, tree := range []struct {
		entries string
		id      *string
	}{{left.String(), &r.Left}, {right.String(), &r.Right}} {
		out, err := git.Output(ctx, scratch, gitcmd.Spec{Name: "mktree", Flags: []string{"-z", "--missing"}, Stdin: strings.NewReader(tree.entries)}, 256)
		if err != nil {
			return failed(err)
		}
		*tree.id = strings.TrimSpace(string(out))
	}
	g := gaps{pairs: pairs, sink: sink}
	if err := compare(ctx, git, scratch, r, "--no-renames", o, g.file); err != nil {
		return err
	}
	return g.until(len(pairs))
}

// prepare checks a pair and makes its modes such that it stays one change.
func (c *Change) prepare() error {
	if !ref.ValidOID(c.OldID) || !ref.ValidOID(c.NewID) {
		return errs.New(errs.Invalid, "invalid blob id")
	}
	for _, mode := range []*int32{&c.OldMode, &c.NewMode} {
		switch *mode & modeMask {
		case 0:
			*mode = modeFile
		case modeFile & modeMask, 0o120000, modeGitlink:
		default:
			return errs.New(errs.Invalid, "invalid file mode")
		}
	}
	if c.OldMode&modeMask == c.NewMode&modeMask || isZero(c.OldID) || isZero(c.NewID) {
		return nil
	}
	if c.OldMode == modeGitlink || c.NewMode == modeGitlink {
		return errs.New(errs.Unimplemented, "a submodule cannot be compared with a file")
	}
	c.OldMode, c.NewMode = modeFile, modeFile // a link is a file with its target
	return nil
}

func isZero(oid string) bool { return strings.Trim(oid, "0") == "" }

// entry adds the blob to a tree, under a name that keeps the order.
func entry(tree *strings.Builder, i int, oid string, mode int32) {
	if isZero(oid) {
		return
	}
	typ := "blob"
	if mode == modeGitlink {
		typ = "commit"
	}
	fmt.Fprintf(tree, "%06o %s %s\t%08d\x00", mode, typ, oid, i)
}

// gaps adds the pairs that git does not list, because they are equal.
type gaps struct {
	pairs []Change
	next  int
	inner bool // a file is not complete
	sink  Sink
}

func (g *gaps) file(f *File, data []byte, last bool) error {
	i, err := strconv.Atoi(string(f.NewPath))
	if err != nil || i >= len(g.pairs) {
		return malformed("path", f.NewPath)
	}
	if !g.inner {
		if err := g.until(i); err != nil {
			return err
		}
		g.next++
	}
	g.inner = !last
	out := *f
	out.Change = g.pairs[i]
	return g.sink(&out, data, last)
}

// until hands over the pairs before i.
func (g *gaps) until(i int) error {
	for ; g.next < i; g.next++ {
		if err := g.sink(&File{Change: g.pairs[g.next]}, nil, true); err != nil {
			return err
		}
	}
	return nil
}

// ResolvePair turns the names of two blobs, full ids or revision:path, into a change.
// An id of zeros is no blob. Everything that is wrong is errs.Invalid.
func ResolvePair(objects *object.Reader, left, right string) (Change, error) {
	c := Change{OldMode: modeFile, NewMode: modeFile}
	for _, side := range []struct {
		what, name string
		id         *string
	}{{"left", left, &c.OldID}, {"right", right, &c.NewID}} {
		id, err := resolveBlob(objects, side.name)
		if kind := errs.KindOf(err); kind == errs.Invalid || kind == errs.NotFound {
			return c, errs.Newf(errs.Invalid, "getting %s blob info: %s", side.what, errs.Message(err))
		}
		if err != nil {
			return c, err
		}
		*side.id = id
	}
	switch {
	case c.OldID == c.NewID:
		return c, errs.New(errs.Invalid, "left and right blob revisions resolve to same OID")
	case isZero(c.OldID):
		c.OldID = ref.ZeroOID(c.NewID)
	case isZero(c.NewID):
		c.NewID = ref.ZeroOID(c.OldID)
	}
	return c, nil
}

func resolveBlob(objects *object.Reader, name string) (string, error) {
	revision, p, scoped := strings.Cut(name, ":")
	if scoped {
		if err := checkScoped(name); err != nil {
			return "", err
		}
		root, err := objects.RootTree(revision)
		if err != nil {
			return "", err
		}
		e, err := objects.Find(root, p)
		if err == nil && e.Type() != "blob" {
			err = errs.New(errs.Invalid, "revision is not blob")
		}
		return e.OID, err
	}
	if !ref.ValidOID(name) {
		return "", errs.New(errs.Invalid, "invalid blob id")
	}
	if isZero(name) {
		return name, nil
	}
	info, err := objects.Info(name)
	if err == nil && info.Type != "blob" {
		err = errs.New(errs.Invalid, "revision is not blob")
	}
	return info.OID, err
}
