package diff

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
)

// CommitPair is a commit of one series beside one of another. Dashes stand for none.
type CommitPair struct {
	From, To string
	Relation byte // '=' the same change, '!' another one, '<' only From, '>' only To
	Title    string
}

func rangeSpec(revisions []string) (gitcmd.Spec, error) {
	for _, rev := range revisions {
		if err := ref.CheckRevision(rev); err != nil {
			return gitcmd.Spec{}, err
		}
	}
	return gitcmd.Spec{Name: "range-diff", Flags: safe(), Args: revisions}, nil
}

// RawRanges writes what git range-diff says about two series of commits, named as it
// wants them: two ranges, one of three dots, or a base and two tips.
func RawRanges(ctx context.Context, git Git, repo *gitcmd.Repo, revisions []string, w io.Writer) error {
	s, err := rangeSpec(revisions)
	if err != nil {
		return err
	}
	s.Stdout = w
	return failed(git.Run(ctx, repo, s))
}

// Ranges calls sink for each pair of commits of two series: with the pair and the
// first part of what differs between their patches, then with the rest. data is valid
// during the call only; last marks the end of the pair.
func Ranges(ctx context.Context, git Git, repo *gitcmd.Repo, revisions []string, sink func(p *CommitPair, data []byte, last bool) error) error {
	s, err := rangeSpec(revisions)
	if err != nil {
		return err
	}
	out, err := git.Reader(ctx, repo, s)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	return failed(readRanges(out, sink))
}

// pairLine is "<n>:  <id> <relation> <m>:  <id> <title>", the numbers padded to one
// width.
var pairLine = regexp.MustCompile(`^ *(-|[0-9]+): +(-+|[0-9a-f]+) ([=!<>]) +(-|[0-9]+): +(-+|[0-9a-f]+) (.*)$`)

// indent stands before each line of what differs.
const indent = 4

// maxPart bounds a line that is looked at as a whole, and a piece of what differs.
const maxPart = 64 << 10

// rangeReader tells pairs from what differs by the colon behind the first number: where
// it stands in the first line it stands in all of them, and lines of what differs have
// their indentation or their mark there.
type rangeReader struct {
	in     *bufio.Reader
	sink   func(p *CommitPair, data []byte, last bool) error
	column int // of the colon, -1 before the first line
	pair   *CommitPair
	held   []byte // of what differs
}

func readRanges(in io.Reader, sink func(p *CommitPair, data []byte, last bool) error) error {
	r := &rangeReader{in: bufio.NewReaderSize(in, maxPart), sink: sink, column: -1}
	for {
		err := r.line()
		if errors.Is(err, io.EOF) {
			return r.finish()
		}
		if err != nil {
			return err
		}
	}
}

// line reads one line, in as many parts as the buffer needs.
func (r *rangeReader) line() error {
	part, err := r.in.ReadSlice('\n')
	if len(part) == 0 {
		return err
	}
	next, isPair := r.parse(part)
	switch {
	case isPair:
		if err := r.finish(); err != nil {
			return err
		}
		r.pair = next
	case r.pair == nil:
		return malformed("range-diff", part)
	default:
		spaces := len(part) - len(bytes.TrimLeft(part, " "))
		if err := r.add(part[min(indent, spaces):]); err != nil {
			return err
		}
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		part, err = r.in.ReadSlice('\n')
		if isPair { // the end of a title
			continue
		}
		if err := r.add(part); err != nil {
			return err
		}
	}
	return err
}

func (r *rangeReader) add(part []byte) error {
	if len(r.held)+len(part) > maxPart {
		if err := r.sink(r.pair, r.held, false); err != nil {
			return err
		}
		r.held = r.held[:0]
	}
	r.held = append(r.held, part...)
	return nil
}

func (r *rangeReader) finish() error {
	if r.pair == nil {
		return nil
	}
	p, held := r.pair, r.held
	r.pair, r.held = nil, r.held[:0]
	return r.sink(p, held, true)
}

func (r *rangeReader) parse(line []byte) (*CommitPair, bool) {
	if r.column >= 0 && (len(line) <= r.column || line[r.column] != ':') {
		return nil, false
	}
	m := pairLine.FindSubmatch(bytes.TrimSuffix(line, []byte("\n")))
	if m == nil {
		return nil, false
	}
	r.column = bytes.IndexByte(line, ':')
	return &CommitPair{From: string(m[2]), Relation: m[3][0], To: string(m[5]), Title: string(m[6])}, true
}
