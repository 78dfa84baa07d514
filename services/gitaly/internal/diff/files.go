package diff

import (
	"bytes"
	"context"
	"errors"
	"io"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// File is a changed file and what is known of its patch.
type File struct {
	Change
	Binary         bool
	Collapsed      bool // the patch is left out: others before it were enough
	TooLarge       bool // the patch is left out: it is too large by itself
	Overflow       bool // a limit was reached
	Size           int  // of the patch in bytes, also when it is left out
	Added, Removed int  // lines, also when the patch is left out; 0 word by word

	lines, bytes int // what counts against the limits: not the heads of hunks
}

// Options says how files are compared and how much of it is wanted.
type Options struct {
	Whitespace Whitespace
	Words      bool // word by word, not line by line
	Limits     Limits
}

func (o Options) flags() []string {
	flags := []string{"--patch", "--full-index", "--src-prefix=a/", "--dst-prefix=b/"}
	switch o.Whitespace {
	case IgnoreSpaceChange:
		flags = append(flags, "--ignore-space-change")
	case IgnoreAllSpace:
		flags = append(flags, "--ignore-all-space")
	case WhitespaceCounts:
	}
	if o.Words {
		flags = append(flags, "--word-diff=porcelain")
	}
	return flags
}

// Sink receives the files one after the other: the file with the first part of its
// patch, then the same file with further parts. data is valid during the call only;
// last marks the end of the file. Size, Added and Removed are complete in the first
// call, unless the patch is larger than a MiB and no limit applies: then in the last.
type Sink func(f *File, data []byte, last bool) error

// errOverflow ends a comparison at a limit.
var errOverflow = errors.New("a limit was reached")

// Files compares two revisions file by file. Where a limit ends it, the last file has
// Overflow and nothing else.
func Files(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, o Options, sink Sink) error {
	if err := r.check(); err != nil {
		return err
	}
	return compare(ctx, git, repo, r, "--find-renames=30%", o, sink)
}

// compare runs both processes and goes through what they print.
func compare(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, renames string, o Options, sink Sink) error {
	facts, err := git.Reader(ctx, repo, r.spec("--raw", "-z", "--no-abbrev", renames))
	if err != nil {
		return err
	}
	defer func() { _ = facts.Close() }()
	patches, err := git.Reader(ctx, repo, r.spec(append(o.flags(), renames)...))
	if err != nil {
		return err
	}
	defer func() { _ = patches.Close() }()
	err = walk(facts, patches, o, sink)
	if errors.Is(err, errOverflow) {
		return nil
	}
	return failed(err)
}

// walk gives each change its patch. A change that is next and has another header than
// the next patch has none: its contents differ in nothing that counts.
func walk(facts, patches io.Reader, o Options, sink Sink) error {
	changes := splitTypes(newRawReader(facts).next)
	p, err := newPatchReader(patches)
	if err != nil {
		return err
	}
	w := &walker{budget: budget{limits: o.Limits.bounded()}, words: o.Words, sink: sink}
	for {
		c, err := changes()
		if errors.Is(err, io.EOF) {
			if p.pending != nil {
				return malformed("patch without a file", p.pending)
			}
			return nil
		}
		if err != nil {
			return err
		}
		w.files++
		w.file, w.held, w.sent = &File{Change: c}, w.held[:0], false
		if p.is(c) {
			if err := p.body(w.part); err != nil {
				return err
			}
		}
		if err := w.finish(); err != nil {
			return err
		}
	}
}

// walker collects the patch of one file at a time.
type walker struct {
	budget
	words bool
	sink  Sink
	file  *File
	held  []byte // of the patch
	sent  bool   // a part of the file is with the sink
}

// holdMax is how much of a patch is held, if no limit tells.
const holdMax = 1 << 20

// part takes a part of a line of the patch.
func (w *walker) part(part []byte, first bool) error {
	f := w.file
	f.Size += len(part)
	if first {
		w.count(part)
	}
	if !bytes.HasPrefix(part, hunkStart) || !first { // the head of a hunk is not counted
		f.bytes += len(part)
		w.bytes += len(part)
	}
	if w.doomed(f) {
		w.held = w.held[:0]
		return nil
	}
	if w.streams() && len(w.held)+len(part) > holdMax {
		if err := w.sink(f, w.held, false); err != nil {
			return err
		}
		w.held, w.sent = w.held[:0], true
	}
	w.held = append(w.held, part...)
	return nil
}

// count looks at the beginning of a line.
func (w *walker) count(line []byte) {
	f := w.file
	switch {
	case bytes.HasPrefix(line, hunkStart):
		return
	case bytes.HasPrefix(line, binaryStart):
		f.Binary = true
	case line[0] == '+' && !w.words:
		f.Added++
	case line[0] == '-' && !w.words:
		f.Removed++
	}
	f.lines++
	w.lines++
}

// finish hands the file over.
func (w *walker) finish() error {
	f := w.file
	w.judge(f)
	switch {
	case f.Overflow && !w.limits.AllPaths:
		if err := w.sink(&File{Overflow: true}, nil, true); err != nil {
			return err
		}
		return errOverflow
	case f.Overflow || f.Collapsed || f.TooLarge:
		w.held = w.held[:0]
	}
	return w.sink(f, w.held, true)
}
