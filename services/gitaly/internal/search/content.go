package search

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"gitsplit/services/gitaly/internal/object"
)

const (
	around     = 2       // lines before and after a match
	maxLine    = 1 << 20 // of a line, in bytes; what is longer is cut
	binaryHead = 8000    // bytes in which a NUL tells that a file is no text
)

// Results takes what is found: pieces of lines of the form
// "<revision>:<path> NUL <number> NUL <text> LF", and the end of each group of lines
// that follow each other.
type Results interface {
	io.Writer
	EndOfMatch() error
}

// Lines looks for lines of a revision's files that match the query, an expression of
// Go's regexp in which case does not count. Files that are no text are passed over. A
// revision that is not there has no files. A bad query is errs.Invalid.
func Lines(objects *object.Reader, revision, query string, out Results) error {
	match, err := matcher(query)
	if err != nil {
		return err
	}
	return walk(objects, revision, "", func(e object.Entry) error {
		if !e.Regular() { // links and submodules have no lines
			return nil
		}
		_, rd, err := objects.Stream(e.OID)
		if err != nil {
			return err
		}
		f := file{match: match, out: out, head: revision + ":" + e.Path}
		if err := f.search(bufio.NewReaderSize(rd, 64<<10)); err != nil {
			return err
		}
		return objects.Discard()
	})
}

// file is the search through one file.
type file struct {
	match   func([]byte) bool
	out     Results
	head    string   // of each line that is found
	pending [][]byte // the last lines that were not passed on, at most around
	after   int      // lines that are still to be passed on
	open    bool     // a group has begun and may go on
}

func (f *file) search(rd *bufio.Reader) error {
	if start, _ := rd.Peek(binaryHead); bytes.IndexByte(start, 0) >= 0 {
		return nil
	}
	for number := 1; ; number++ {
		line, err := readLine(rd)
		if errors.Is(err, io.EOF) {
			return f.end()
		}
		if err == nil {
			err = f.line(number, line)
		}
		if err != nil {
			return err
		}
	}
}

func (f *file) line(number int, line []byte) error {
	if !f.match(line) {
		return f.surroundings(number, line)
	}
	for i, p := range f.pending {
		if err := f.write(number-len(f.pending)+i, p); err != nil {
			return err
		}
	}
	f.pending, f.after, f.open = nil, around, true
	return f.write(number, line)
}

// surroundings keeps a line that does not match: it may be in sight of one that does.
func (f *file) surroundings(number int, line []byte) error {
	if f.after > 0 {
		f.after--
		return f.write(number, line)
	}
	f.pending = append(f.pending, bytes.Clone(line))
	if len(f.pending) <= around {
		return nil
	}
	f.pending = f.pending[1:]
	return f.end()
}

func (f *file) end() error {
	if !f.open {
		return nil
	}
	f.open = false
	return f.out.EndOfMatch()
}

func (f *file) write(number int, line []byte) error {
	if _, err := fmt.Fprintf(f.out, "%s\x00%d\x00", f.head, number); err != nil {
		return err
	}
	_, err := f.out.Write(append(line, '\n'))
	return err
}

// readLine returns the next line without its end, valid until the next call.
func readLine(rd *bufio.Reader) ([]byte, error) {
	line, err := rd.ReadSlice('\n')
	if err == nil {
		return line[: len(line)-1 : len(line)-1], nil
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if line, err = rd.ReadSlice('\n'); len(long) < maxLine {
			long = append(long, line...)
		}
	}
	if errors.Is(err, io.EOF) && len(long) > 0 {
		err = nil
	}
	return bytes.TrimSuffix(long[:min(len(long), maxLine)], []byte("\n")), err
}
