package pack

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
)

// spooled is an input that was read to its end: its beginning in memory, and what
// does not fit there in a file without a name.
type spooled struct {
	head []byte
	file *os.File
	size int64     // of the file
	sum  hash.Hash // SHA-256 of all of it
	rest io.Reader // what could not be stored; nil if nothing
}

// spoolMemory holds some 1500 lines of "want".
const spoolMemory = 64 << 10

// spool reads r. A disk that takes nothing is no error: then the result is not whole,
// and its reader goes on with r.
func spool(r io.Reader, dir string) (*spooled, error) {
	s := &spooled{head: make([]byte, spoolMemory), sum: sha256.New()}
	n, err := io.ReadFull(r, s.head)
	s.head = s.head[:n]
	s.sum.Write(s.head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	if s.file, err = os.CreateTemp(dir, "wants-"); err != nil {
		s.rest = r
		return s, nil //nolint:nilerr // not whole
	}
	_ = os.Remove(s.file.Name()) // at worst it stays until the next start
	return s, s.store(r)
}

// store copies r to the file as far as that goes.
func (s *spooled) store(r io.Reader) error {
	buf := make([]byte, spoolMemory)
	for {
		n, err := r.Read(buf)
		s.sum.Write(buf[:n])
		stored, full := s.file.Write(buf[:n])
		s.size += int64(stored)
		if full != nil {
			s.rest = io.MultiReader(bytes.NewReader(buf[stored:n]), r)
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			s.close()
			return err
		}
	}
}

func (s *spooled) whole() bool { return s.rest == nil }

// reader reads all of it, once.
func (s *spooled) reader() io.Reader {
	readers := []io.Reader{bytes.NewReader(s.head)}
	if s.file != nil {
		readers = append(readers, io.NewSectionReader(s.file, 0, s.size))
	}
	if s.rest != nil {
		readers = append(readers, s.rest)
	}
	return io.MultiReader(readers...)
}

func (s *spooled) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name: its content goes
	}
}
