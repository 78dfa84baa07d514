// Package archive is the file format of backups: a tar file, so that ordinary tools can take it apart, of entries whose length nobody
// knows beforehand. A stream is cut into parts of bounded size, `<name>.part-00001` and so on; `cat` of the parts is the stream. The last
// entry, `end.json`, holds the number of parts and a SHA-256 over all names, sizes and contents: without it an archive is not whole.
package archive

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

// partSize is how much of a stream is held in memory.
const partSize = 4 << 20

// endName is the entry that says that all has been written.
const endName = "end.json"

// ending is the content of the last entry.
type ending struct {
	Parts  int    `json:"parts"`
	SHA256 string `json:"sha256"`
}

// Writer writes an archive. It is not safe for concurrent use.
type Writer struct {
	tar  *tar.Writer
	sum  summer
	now  time.Time
	part []byte
}

// NewWriter returns a Writer whose entries have the time now.
func NewWriter(w io.Writer, now time.Time) *Writer {
	return &Writer{tar: tar.NewWriter(w), sum: newSummer(), now: now, part: make([]byte, partSize)}
}

// Add writes a stream to its end and returns its length in bytes. The error of content is returned as it is, wrapped; the archive is of
// no use then.
func (w *Writer) Add(name string, content io.Reader) (size int64, err error) {
	for n := 1; ; n++ {
		got, err := io.ReadFull(content, w.part)
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return size, fmt.Errorf("%s: %w", name, err)
		}
		if got == 0 && n > 1 {
			return size, nil
		}
		if err := w.entry(partName(name, n), w.part[:got]); err != nil {
			return size, err
		}
		w.sum.add(partName(name, n), w.part[:got])
		size += int64(got)
		if last {
			return size, nil
		}
	}
}

// Stream is Add for content that is written rather than read: fill writes it.
func (w *Writer) Stream(name string, fill func(io.Writer) error) (int64, error) {
	r, pipe := io.Pipe()
	go func() { pipe.CloseWithError(fill(pipe)) }()
	size, err := w.Add(name, r)
	_ = r.CloseWithError(errAbandoned) // ends fill; it has ended unless Add failed
	return size, err
}

var errAbandoned = errors.New("the archive is not written any further")

// AddJSON writes a small value.
func (w *Writer) AddJSON(name string, v any) error {
	r, pipe := io.Pipe()
	go func() { pipe.CloseWithError(json.NewEncoder(pipe).Encode(v)) }()
	_, err := w.Add(name, r)
	return err
}

// Close writes the end. It does not close what NewWriter got.
func (w *Writer) Close() error {
	end, err := json.Marshal(ending{Parts: w.sum.parts, SHA256: w.sum.hex()})
	if err != nil {
		return fmt.Errorf("end of the archive: %w", err)
	}
	if err := w.entry(endName, end); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return fmt.Errorf("end of the archive: %w", err)
	}
	return nil
}

func (w *Writer) entry(name string, content []byte) error {
	h := &tar.Header{Name: name, Mode: 0o600, Size: int64(len(content)), ModTime: w.now.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatPAX}
	if err := w.tar.WriteHeader(h); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	if _, err := w.tar.Write(content); err != nil {
		return fmt.Errorf("write the archive: %w", err)
	}
	return nil
}

func partName(name string, n int) string { return fmt.Sprintf("%s.part-%05d", name, n) }

// summer sums names, sizes and contents, each with its length before it.
type summer struct {
	hash  hash.Hash
	parts int
}

func newSummer() summer { return summer{hash: sha256.New()} }

func (s *summer) begin(name string, size int64) {
	s.parts++
	var head [8]byte
	binary.BigEndian.PutUint64(head[:], uint64(len(name)))
	_, _ = s.hash.Write(head[:]) // a hash never fails
	_, _ = io.WriteString(s.hash, name)
	binary.BigEndian.PutUint64(head[:], uint64(size))
	_, _ = s.hash.Write(head[:])
}

func (s *summer) add(name string, content []byte) {
	s.begin(name, int64(len(content)))
	_, _ = s.hash.Write(content)
}

func (s *summer) hex() string { return hex.EncodeToString(s.hash.Sum(nil)) }
