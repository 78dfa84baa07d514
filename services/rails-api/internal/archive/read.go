package archive

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
)

// Reader reads an archive once, from its beginning to its end. It is not safe for concurrent use.
type Reader struct {
	tar     *tar.Reader
	sum     summer
	name    string      // of the stream that is being read
	number  int         // of its part
	pending *tar.Header // of the next stream, already met
	left    int64       // bytes of the present part
	done    bool        // of the present stream
	err     error
}

// NewReader returns a Reader.
func NewReader(r io.Reader) *Reader {
	return &Reader{tar: tar.NewReader(r), sum: newSummer(), done: true}
}

// damaged is what people read of an archive that cannot be used.
func damaged(why error) error {
	if errors.Is(why, io.EOF) { // which means a good end to callers
		why = io.ErrUnexpectedEOF
	}
	return errs.Wrap(errs.Invalid, "the archive is damaged or cut short", why)
}

// Next passes over what is left of the present stream and begins the next one. io.EOF is the end of an archive that is whole; any other
// error is errs.Invalid, or one of the reader below.
func (r *Reader) Next() (name string, err error) {
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", err
	}
	if r.err != nil {
		return "", r.err
	}
	h := r.pending
	if r.pending = nil; h == nil {
		if h, err = r.header(); err != nil {
			return "", r.fail(err)
		}
	}
	if h.Name == endName {
		return "", r.fail(r.end(h))
	}
	base, number, ok := splitPart(h.Name)
	if !ok || number != 1 {
		return "", r.fail(damaged(fmt.Errorf("part %q is out of place", h.Name)))
	}
	r.name, r.number, r.done = base, 1, false
	r.begin(h)
	return base, nil
}

func (r *Reader) fail(err error) error {
	r.err, r.done = err, true
	return err
}

func (r *Reader) header() (*tar.Header, error) {
	h, err := r.tar.Next()
	if err != nil { // the end comes after end.json, which is read elsewhere
		return nil, damaged(err)
	}
	if h.Typeflag != tar.TypeReg || h.Size < 0 || h.Size > partSize {
		return nil, damaged(fmt.Errorf("entry %q is none of ours", h.Name))
	}
	return h, nil
}

func (r *Reader) begin(h *tar.Header) {
	r.left = h.Size
	r.sum.begin(h.Name, h.Size)
}

func splitPart(entry string) (name string, number int, ok bool) {
	i := strings.LastIndex(entry, ".part-")
	if i < 0 {
		return "", 0, false
	}
	number, err := strconv.Atoi(entry[i+len(".part-"):])
	return entry[:i], number, err == nil && partName(entry[:i], number) == entry
}

// Read reads the present stream; io.EOF is its end.
func (r *Reader) Read(p []byte) (int, error) {
	for r.left == 0 && !r.done {
		if err := r.nextPart(); err != nil {
			return 0, r.fail(err)
		}
	}
	if r.done {
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return 0, r.err
		}
		return 0, io.EOF
	}
	n, err := r.tar.Read(p[:min(int64(len(p)), r.left)])
	_, _ = r.sum.hash.Write(p[:n])
	r.left -= int64(n)
	if err != nil && (!errors.Is(err, io.EOF) || r.left > 0) {
		return n, r.fail(damaged(err))
	}
	return n, nil
}

// nextPart goes on with the stream's next part, or ends the stream.
func (r *Reader) nextPart() error {
	h, err := r.header()
	if err != nil {
		return err
	}
	base, number, ok := splitPart(h.Name)
	if !ok || base != r.name {
		r.pending, r.done = h, true
		return nil
	}
	if number != r.number+1 {
		return damaged(fmt.Errorf("part %d of %q is missing", r.number+1, r.name))
	}
	r.number = number
	r.begin(h)
	return nil
}

// end compares what was read with what was written.
func (r *Reader) end(h *tar.Header) error {
	var end ending
	const most = 1 << 10
	if h.Size > most {
		return damaged(errors.New("the last entry is too long"))
	}
	if err := json.NewDecoder(r.tar).Decode(&end); err != nil {
		return damaged(err)
	}
	if end.Parts != r.sum.parts || end.SHA256 != r.sum.hex() {
		return damaged(errors.New("the check sum is another one"))
	}
	return io.EOF
}

// Verify reads an archive to its end and returns how many bytes its streams have.
func Verify(r io.Reader) (size int64, err error) {
	for a := NewReader(r); ; {
		if _, err := a.Next(); errors.Is(err, io.EOF) {
			return size, nil
		} else if err != nil {
			return size, err
		}
		n, err := io.Copy(io.Discard, a)
		size += n
		if err != nil {
			return size, err
		}
	}
}
