package diff

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// patchReader reads the patches that git prints one after the other.
type patchReader struct {
	in      *bufio.Reader
	pending []byte // header of the patch that comes next, nil at the end
}

var (
	headerStart = []byte("diff --git ")
	hunkStart   = []byte("@@")
	binaryStart = []byte("Binary files ")
)

// maxHeader is the longest header: two paths, each byte of them escaped.
const maxHeader = 8*maxPath + 1024

// newPatchReader reads as far as the first header.
func newPatchReader(r io.Reader) (*patchReader, error) {
	p := &patchReader{in: bufio.NewReaderSize(r, 64<<10)}
	return p, p.skip(func(start []byte) bool { return bytes.HasPrefix(start, headerStart) })
}

// is reports whether the next patch is the change's.
func (p *patchReader) is(c Change) bool {
	return p.pending != nil && bytes.Equal(p.pending, c.header())
}

// skip reads lines until one begins as wanted, which it takes if it is a header, or
// until the end.
func (p *patchReader) skip(wanted func(start []byte) bool) error {
	p.pending = nil
	for {
		start, err := p.in.Peek(len(binaryStart))
		if len(start) == 0 {
			return endOf(err)
		}
		if bytes.HasPrefix(start, headerStart) {
			p.pending, err = readUntil(p.in, '\n', maxHeader)
			return unexpected(err)
		}
		if wanted(start) {
			return nil
		}
		if err := p.line(func([]byte, bool) error { return nil }); err != nil {
			return err
		}
	}
}

// endOf keeps a failure: the plain end is none.
func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// line passes on one line, with its line break, in as many parts as the buffer needs.
func (p *patchReader) line(each func(part []byte, first bool) error) error {
	for first := true; ; first = false {
		part, err := p.in.ReadSlice('\n')
		if len(part) > 0 {
			if err := each(part, first); err != nil {
				return err
			}
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return endOf(err)
	}
}

// body passes on the lines of the pending patch from the first hunk on, and takes the
// next header.
func (p *patchReader) body(each func(part []byte, first bool) error) error {
	err := p.skip(func(start []byte) bool {
		return bytes.HasPrefix(start, hunkStart) || bytes.HasPrefix(start, binaryStart)
	})
	if err != nil || p.pending != nil {
		return err // no hunks
	}
	for {
		start, err := p.in.Peek(len(headerStart))
		if len(start) == 0 {
			return endOf(err)
		}
		if bytes.Equal(start, headerStart) { // lines of hunks begin otherwise
			return p.skip(nil)
		}
		if err := p.line(each); err != nil {
			return err
		}
	}
}
