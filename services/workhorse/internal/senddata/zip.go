package senddata

import (
	"archive/zip"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
)

// Bounds of archives, which people have made.
const (
	// maxDirectory is how many bytes of an archive's list are read, about 150 000
	// entries. The list takes about four times as much in memory.
	maxDirectory = 16 << 20
	maxEntries   = maxDirectory / 46 // of a list so long: each takes 46 bytes and its name
	maxLookUps   = 1                 // lists in memory at once: two of the longest would be too much
	maxEntry     = 5 << 30           // bytes of one entry, inflated: as of a push
)

// zipEntry says where a file lies in an archive. It does not hold on to the archive's
// list.
type zipEntry struct {
	offset     int64 // of the packed bytes
	packed     int64
	size       int64
	crc        uint32
	compressed bool
}

// findEntry finds a regular file by its exact name. Names that are no plain relative
// path, directories and links do not exist.
func findEntry(a archive, name string) (zipEntry, error) {
	if !fs.ValidPath(name) {
		return zipEntry{}, fmt.Errorf("entry %q is no path: %w", name, fs.ErrNotExist)
	}
	list, err := zip.NewReader(&budget{a, maxDirectory}, a.length())
	if err != nil {
		return zipEntry{}, fmt.Errorf("read the list of an archive: %w", err)
	}
	for _, f := range list.File {
		if f.Name == name {
			return describe(f)
		}
	}
	return zipEntry{}, fmt.Errorf("entry %q: %w", name, fs.ErrNotExist)
}

// describe refuses what cannot be sent as it says.
func describe(f *zip.File) (zipEntry, error) {
	const encrypted = 1 // bit of Flags
	offset, err := f.DataOffset()
	switch {
	case !f.Mode().IsRegular():
		return zipEntry{}, fmt.Errorf("entry %q is no regular file: %w", f.Name, fs.ErrNotExist)
	case err != nil:
		return zipEntry{}, fmt.Errorf("entry %q: %w", f.Name, err)
	case f.Flags&encrypted != 0:
		return zipEntry{}, fmt.Errorf("entry %q is encrypted", f.Name)
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return zipEntry{}, fmt.Errorf("entry %q: compression method %d is unknown", f.Name, f.Method)
	case f.UncompressedSize64 > maxEntry || f.CompressedSize64 > maxEntry:
		return zipEntry{}, fmt.Errorf("entry %q: %d bytes are too many", f.Name, max(f.UncompressedSize64, f.CompressedSize64))
	}
	return zipEntry{
		offset: offset, packed: int64(f.CompressedSize64), size: int64(f.UncompressedSize64), //nolint:gosec // bounded above
		crc: f.CRC32, compressed: f.Method == zip.Deflate,
	}, nil
}

// reader returns the file's bytes. What does not have the size and the sum that the
// archive's list says ends in an error before its last byte: a bomb inflates to the
// announced size and no further.
func (e zipEntry) reader(r io.ReaderAt) io.Reader {
	var src io.Reader = io.NewSectionReader(r, e.offset, e.packed)
	if e.compressed {
		src = flate.NewReader(src)
	}
	return &checkedReader{src: src, left: e.size, sum: crc32.NewIEEE(), want: e.crc}
}

var errEntry = errors.New("the entry is not what the archive's list says")

// checkedReader passes on exactly the announced bytes, the last of them once the sum
// is right.
type checkedReader struct {
	src  io.Reader
	left int64
	sum  hash.Hash32
	want uint32
	done bool
}

func (c *checkedReader) Read(p []byte) (int, error) {
	if c.done {
		return 0, io.EOF
	}
	n, err := io.ReadFull(c.src, p[:min(int64(len(p)), c.left)])
	_, _ = c.sum.Write(p[:n]) // a hash takes everything
	c.left -= int64(n)
	if err != nil && c.left > 0 {
		return 0, errors.Join(errEntry, err)
	}
	if c.left > 0 {
		return n, nil
	}
	if more, err := io.ReadFull(c.src, make([]byte, 1)); more > 0 || !errors.Is(err, io.EOF) || c.sum.Sum32() != c.want {
		return 0, errors.Join(errEntry, err)
	}
	c.done = true
	return n, nil
}

// budget bounds what is read in all. It also reads along: for as many entries as the
// end of a long list says there are (zip64's end of central directory record, APPNOTE
// 4.3.14), archive/zip makes room before it has seen any, if the archive, of which the
// list is a small part, is long enough to hold them.
type budget struct {
	io.ReaderAt
	left int64
}

const (
	zip64End        = "PK\x06\x06"
	zip64EndEntries = 32 // where their number stands, in 8 bytes
)

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if b.left -= int64(len(p)); b.left < 0 {
		return 0, fmt.Errorf("the list is longer than %d bytes", int64(maxDirectory))
	}
	n, err := b.ReaderAt.ReadAt(p, off)
	if n >= zip64EndEntries+8 && string(p[:len(zip64End)]) == zip64End {
		if count := binary.LittleEndian.Uint64(p[zip64EndEntries:]); count > maxEntries {
			return 0, fmt.Errorf("%w: %d", errEntries, count)
		}
	}
	return n, err
}

var errEntries = errors.New("the list has too many entries")
