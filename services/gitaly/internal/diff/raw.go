package diff

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Change is what git says about a changed file. Ids of zeros and modes of 0 stand for
// no file.
type Change struct {
	Status           byte // A, C, D, M, R or T
	Score            int  // how similar, in percent; of C and R only
	OldMode, NewMode int32
	OldID, NewID     string
	OldPath, NewPath []byte // equal but for C and R
	Commit           string // that made the change, where commits were asked for
}

// rawReader reads git's raw format, with NUL behind each field (git diff-tree(1),
// "Raw output format").
type rawReader struct {
	in       *bufio.Reader
	allPaths bool     // a merge names the path in each parent
	commit   string   // of the last header
	ready    []Change // more of a merge
}

func newRawReader(r io.Reader) *rawReader { return &rawReader{in: bufio.NewReaderSize(r, 64<<10)} }

// next returns the next change, io.EOF at the end, or how git failed. A merge gives one
// change for each parent.
func (r *rawReader) next() (Change, error) {
	for len(r.ready) == 0 {
		first, err := r.in.Peek(1)
		if err != nil {
			return Change{}, err
		}
		if first[0] == ':' {
			err = r.entry()
		} else {
			err = r.header()
		}
		if err != nil {
			return Change{}, err
		}
	}
	c := r.ready[0]
	r.ready = r.ready[1:]
	return c, nil
}

// maxFacts bounds the facts of one file: a merge of 1000 parents fits.
const maxFacts = 256 << 10

// header reads "<commit> NUL", or "<tree> <tree> LF" for a pair of trees.
func (r *rawReader) header() error {
	var name []byte
	for {
		b, err := r.in.ReadByte()
		if err != nil {
			return unexpected(err)
		}
		if b == 0 || b == '\n' {
			break
		}
		if name = append(name, b); len(name) > 1024 {
			return malformed("header", name)
		}
	}
	r.commit = ""
	if !bytes.ContainsRune(name, ' ') {
		r.commit = string(name)
	}
	return nil
}

// entry reads ":<mode> <mode> <id> <id> <status>", with a colon, a mode, an id and a
// letter more for each further parent, and the paths.
func (r *rawReader) entry() error {
	line, err := readUntil(r.in, 0, maxFacts)
	if err != nil {
		return unexpected(err)
	}
	parents := 0
	for parents < len(line) && line[parents] == ':' {
		parents++
	}
	fields := strings.Split(string(line[parents:]), " ")
	if len(fields) != 2*parents+3 {
		return malformed("raw line", line)
	}
	letters := fields[2*parents+2]
	for i := range parents {
		c, ok := parseFacts(fields[i], fields[parents], fields[parents+1+i], fields[2*parents+1], letters, i, parents)
		if !ok {
			return malformed("raw line", line)
		}
		c.Commit = r.commit
		r.ready = append(r.ready, c)
	}
	return r.paths(parents)
}

func parseFacts(oldMode, newMode, oldID, newID, letters string, i, parents int) (Change, bool) {
	before, err1 := strconv.ParseInt(oldMode, 8, 32)
	after, err2 := strconv.ParseInt(newMode, 8, 32)
	c := Change{OldMode: int32(before), NewMode: int32(after), OldID: oldID, NewID: newID}
	if err1 != nil || err2 != nil || len(letters) < parents || oldID == "" || newID == "" {
		return c, false
	}
	c.Status = letters[i]
	if parents == 1 && len(letters) > 1 {
		score, err := strconv.Atoi(letters[1:])
		if err != nil || score < 0 || score > 100 {
			return c, false
		}
		c.Score = score
	}
	return c, strings.IndexByte("ACDMRT", c.Status) >= 0
}

// paths completes the changes just read: a rename has two paths, a merge one for each
// parent if they were asked for.
func (r *rawReader) paths(parents int) error {
	before := 0
	if c := r.ready[0]; parents == 1 && c.moved() {
		before = 1
	} else if parents > 1 && r.allPaths {
		before = parents
	}
	var paths [][]byte
	for range before + 1 {
		p, err := readUntil(r.in, 0, maxPath)
		if err != nil {
			return unexpected(err)
		}
		paths = append(paths, p)
	}
	for i := range r.ready {
		c := &r.ready[i]
		c.NewPath, c.OldPath = paths[before], paths[before]
		if c.moved() && before > 0 {
			c.OldPath = paths[i]
		}
	}
	return nil
}

// moved reports whether the change has two paths.
func (c Change) moved() bool { return c.Status == 'R' || c.Status == 'C' }

// unexpected is for the end of the input where there should be more.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// splitTypes makes two changes of one that turned a file into something else: git
// prints two patches for it.
func splitTypes(next func() (Change, error)) func() (Change, error) {
	var came *Change
	return func() (Change, error) {
		if came != nil {
			c := *came
			came = nil
			return c, nil
		}
		c, err := next()
		if err != nil || c.Status != 'T' {
			return c, err
		}
		none := strings.Repeat("0", len(c.OldID))
		came = &Change{Status: 'A', OldID: none, NewID: c.NewID, NewMode: c.NewMode, OldPath: c.NewPath, NewPath: c.NewPath}
		c.Status, c.NewID, c.NewMode = 'D', none, 0
		return c, nil
	}
}
