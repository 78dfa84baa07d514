package commit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/ref"
)

// Input turns revisions that come in pieces into what git reads from its standard
// input, however many they are. Words such as --all stand in the first piece, because
// git before 2.42 takes them as arguments only: see Flags.
type Input struct {
	Flags []string // of git, for the words of the first piece

	next    func() ([][]byte, error)
	negated bool
	ready   bytes.Buffer
	mu      sync.Mutex
	err     error
}

// NewInput reads the first piece; next gives the others until io.EOF. A piece without
// revisions, or with one that must not reach git, is errs.Invalid.
func NewInput(next func() ([][]byte, error)) (*Input, error) {
	in := &Input{next: next}
	piece, err := next()
	if err != nil {
		return nil, err
	}
	var names [][]byte
	for _, r := range piece {
		switch word := string(r); {
		case word == "--not":
			in.negated = !in.negated
			names = append(names, r)
		case !isWord(word):
			names = append(names, r)
		case len(word) > 1024 || strings.ContainsAny(word, "\x00\n"):
			return nil, errs.New(errs.Invalid, "invalid reference pattern")
		case in.negated:
			in.Flags = append(in.Flags, "--not", word, "--not")
		default:
			in.Flags = append(in.Flags, word)
		}
	}
	in.negated = false
	if len(piece) == 0 {
		return nil, errs.New(errs.Invalid, "no revisions specified")
	}
	return in, in.add(names)
}

// isWord reports whether r stands for many revisions.
func isWord(r string) bool { return pseudo[r] && r != "--not" || strings.HasPrefix(r, "--glob=") }

// add checks the revisions of a piece and makes lines of them.
func (in *Input) add(piece [][]byte) error {
	for _, raw := range piece {
		r := string(raw)
		if r == "--not" {
			in.negated = !in.negated
			continue
		}
		if isWord(r) {
			return errs.Newf(errs.Invalid, "%s must be in the first message", r)
		}
		if err := ref.CheckRevision(strings.TrimPrefix(r, "^")); err != nil {
			return err
		}
		if in.negated && strings.Contains(r, "..") {
			return errs.New(errs.Invalid, "a range cannot be negated")
		}
		if in.negated {
			r = flip(r)
		}
		in.ready.WriteString(r + "\n")
	}
	return nil
}

// Read gives git the next lines.
func (in *Input) Read(p []byte) (int, error) {
	for in.ready.Len() == 0 {
		piece, err := in.next()
		if err == nil && len(piece) == 0 {
			err = errs.New(errs.Invalid, "no revisions specified")
		}
		if err == nil {
			err = in.add(piece)
		}
		if err != nil {
			in.fail(err)
			return 0, err
		}
	}
	return in.ready.Read(p)
}

func (in *Input) fail(err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !errors.Is(err, io.EOF) {
		in.err = err
	}
}

// Err is what ended the input before its end: git, which saw only that it ended, has
// worked on a part then and its answer is worth nothing.
func (in *Input) Err() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}
