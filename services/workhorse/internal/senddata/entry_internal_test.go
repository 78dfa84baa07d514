package senddata

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// member is an entry of a test's archive. Without packed the content is deflated.
type member struct {
	name    string
	content string
	change  func(*zip.FileHeader)
	packed  []byte
}

// zipOf makes an archive; change may lie.
func zipOf(tb testing.TB, members ...member) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		packed := m.packed
		if packed == nil {
			packed = deflate(tb, m.content)
		}
		h := &zip.FileHeader{Name: m.name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE([]byte(m.content)),
			UncompressedSize64: uint64(len(m.content)), CompressedSize64: uint64(len(packed))}
		h.SetMode(0o644)
		if m.change != nil {
			m.change(h)
		}
		f, err := w.CreateRaw(h)
		if err == nil && len(packed) > 0 {
			_, err = f.Write(packed)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func deflate(tb testing.TB, content string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err == nil {
		_, err = io.WriteString(w, content)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

type memory struct{ *bytes.Reader }

func (m memory) length() int64 { return m.Size() }
func (memory) close()          {}

// read returns an entry's bytes.
func read(a archive, name string) (string, error) {
	e, err := findEntry(a, name)
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(e.reader(a))
	return string(got), err
}

// What people may put into an archive, and what comes of it. Nothing that fails has
// given its last byte.
func TestFindEntry(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("0123456789", 100_000)
	lie := func(size uint64) func(*zip.FileHeader) {
		return func(h *zip.FileHeader) { h.UncompressedSize64 = size }
	}
	data := zipOf(t,
		member{name: "a/b.txt", content: "hello"},
		member{name: "a/b.txt", content: "the second of its name"},
		member{name: "big", content: big},
		member{name: "empty"},
		member{name: "stored", content: "as it is", packed: []byte("as it is"), change: func(h *zip.FileHeader) { h.Method = zip.Store }},
		member{name: "dir/", packed: []byte{}, change: func(h *zip.FileHeader) { h.SetMode(fs.ModeDir | 0o755) }},
		member{name: "link", content: "/etc/passwd", change: func(h *zip.FileHeader) { h.SetMode(fs.ModeSymlink | 0o777) }},
		member{name: "pipe", content: "x", change: func(h *zip.FileHeader) { h.SetMode(fs.ModeNamedPipe | 0o644) }},
		member{name: "../above", content: "x"},
		member{name: "/absolute", content: "x"},
		member{name: "a/../c", content: "x"},
		member{name: "nul\x00l", content: "x"},
		member{name: "quote\".txt", content: "q"},
		member{name: "secret", content: "x", change: func(h *zip.FileHeader) { h.Flags |= 1 }},
		member{name: "bzip2", content: "x", change: func(h *zip.FileHeader) { h.Method = 12 }},
		member{name: "bomb", content: big, change: lie(10)},
		member{name: "short", content: "12345", change: lie(10)},
		member{name: "huge", content: "x", change: lie(maxEntry + 1)},
		member{name: "endless", content: "x", change: lie(math.MaxUint64)},
		member{name: "sum", content: "x", change: func(h *zip.FileHeader) { h.CRC32++ }},
		member{name: "broken", content: "12345", packed: []byte("\xff\xff\xff")},
	)
	for name, tc := range map[string]struct{ want, fails string }{
		"a/b.txt": {want: "hello"}, "big": {want: big}, "empty": {}, "stored": {want: "as it is"}, "quote\".txt": {want: "q"},
		"dir": {fails: "missing"}, "dir/": {fails: "missing"}, "link": {fails: "missing"}, "pipe": {fails: "missing"},
		"../above": {fails: "missing"}, "/absolute": {fails: "missing"}, "a/../c": {fails: "missing"}, "c": {fails: "missing"},
		"": {fails: "missing"}, ".": {fails: "missing"}, "A/B.TXT": {fails: "missing"}, "a//b.txt": {fails: "missing"},
		"\xff": {fails: "missing"}, "nul": {fails: "missing"},
		"secret": {fails: "encrypted"}, "bzip2": {fails: "method"}, "huge": {fails: "too many"}, "endless": {fails: "too many"},
		"bomb": {fails: "list says"}, "short": {fails: "list says"}, "sum": {fails: "list says"}, "broken": {fails: "list says"},
	} {
		got, err := read(memory{bytes.NewReader(data)}, name)
		switch {
		case tc.fails == "missing" && !errors.Is(err, fs.ErrNotExist),
			tc.fails == "" && (err != nil || got != tc.want),
			tc.fails != "" && tc.fails != "missing" && (err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), tc.fails)):
			t.Errorf("%q: %d bytes, %v; want %+v", name, len(got), err, tc.fails)
		}
		if tc.fails != "" && len(got) > 0 {
			t.Errorf("%q: %d bytes came out", name, len(got))
		}
	}
}

// An archive that is none, or whose list is too long, is not read.
func TestFindEntry_archive(t *testing.T) {
	t.Parallel()
	many := make([]member, 300)
	for i := range many {
		many[i] = member{name: strings.Repeat("y", 60_000)}
	}
	for name, data := range map[string][]byte{
		"empty": nil, "text": []byte("this is no zip"), "cut": zipOf(t, member{name: "a", content: "x"})[:40], "long list": zipOf(t, many...),
	} {
		if _, err := read(memory{bytes.NewReader(data)}, "a"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// sparse is a long archive of zeros before its end.
type sparse struct {
	size int64
	end  []byte
}

func (s sparse) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	zeros := max(s.size-int64(len(s.end))-off, 0) // before the end begins
	if zeros < int64(len(p)) {
		copy(p[zeros:], s.end[max(off-(s.size-int64(len(s.end))), 0):])
	}
	return len(p), nil
}

func (s sparse) length() int64 { return s.size }
func (sparse) close()          {}

// A list that says that it has entries by the hundred million gets no room for them,
// however long the archive is.
func TestFindEntry_forgedCount(t *testing.T) {
	t.Parallel()
	const size, ends = 5 << 30, 56 + 20 + 22 // both ends of the list, and what leads from the one to the other
	le := binary.LittleEndian
	end := append([]byte(zip64End), make([]byte, 52)...)
	le.PutUint64(end[4:], 44)
	le.PutUint64(end[zip64EndEntries-8:], 100_000_000)
	le.PutUint64(end[zip64EndEntries:], 100_000_000)
	le.PutUint64(end[48:], size-ends)
	end = append(end, "PK\x06\x07\x00\x00\x00\x00"...)
	end = le.AppendUint64(end, size-ends)
	end = le.AppendUint32(end, 1)
	end = append(end, "PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00"...)
	if _, err := findEntry(sparse{size, end}, "a"); !errors.Is(err, errEntries) {
		t.Errorf("%v", err)
	}
}

// store serves an archive as object storage does, and counts.
func store(t *testing.T, content []byte, asked *[]string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Header.Get("Range"))
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/whole":
			_, _ = w.Write(content)
		case "/redirect":
			http.Redirect(w, r, "/zip", http.StatusFound)
		case "/elsewhere":
			w.Header().Set("Content-Range", "bytes 0-4/5")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "12345")
		case "/lies":
			w.Header().Set("Content-Range", "bytes 0-9223372036854775806/9223372036854775807")
			w.WriteHeader(http.StatusPartialContent)
		default:
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// Archives elsewhere are read in a few ranges, however large they are.
func TestOpenRemote(t *testing.T) {
	t.Parallel()
	random := make([]byte, 1<<20)
	for i := range random {
		random[i] = byte(i * i >> 7)
	}
	stored := func(h *zip.FileHeader) { h.Method = zip.Store }
	data := zipOf(t, member{name: "first", content: string(random), packed: random, change: stored},
		member{name: "second", content: "hello"}, member{name: "third", content: string(random), packed: random, change: stored})
	var asked []string
	s := store(t, data, &asked)
	for name, want := range map[string]string{"first": string(random), "second": "hello", "third": string(random)} {
		asked = nil
		a, err := openArchive(t.Context(), s.URL+"/zip?signature=x")
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(a, name)
		a.close()
		if err != nil || got != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if len(asked) != 2 || asked[0] != "bytes=-65536" {
			t.Errorf("%s: asked for %q", name, asked)
		}
	}
	small := store(t, zipOf(t, member{name: "a", content: "x"}), &asked)
	a, err := openArchive(t.Context(), small.URL+"/zip")
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	asked = nil
	if got, err := read(a, "a"); got != "x" || err != nil || len(asked) > 0 {
		t.Errorf("small archive: %q, %v, asked for %q", got, err, asked)
	}
}

func TestOpenRemote_fails(t *testing.T) {
	t.Parallel()
	var asked []string
	s := store(t, []byte("no zip"), &asked)
	closed := httptest.NewServer(nil)
	closed.Close()
	for where, missing := range map[string]bool{
		s.URL + "/missing": true, s.URL + "/whole": false, s.URL + "/redirect": false, s.URL + "/lies": false, s.URL + "/zip": false,
		closed.URL + "/?signature=hush": false, "http://a b/?signature=hush": false, "file:///etc/passwd": false, "relative.zip": false, "": false,
		filepath.Join(t.TempDir(), "none.zip"): true, t.TempDir(): true, s.URL + "/elsewhere": false,
	} {
		a, err := openArchive(t.Context(), where)
		if err == nil {
			_, err = read(a, "a")
			a.close()
		}
		if err == nil || errors.Is(err, fs.ErrNotExist) != missing {
			t.Errorf("%s: %v", where, err)
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error shows the address", where)
		}
	}
}

// FuzzFindEntry: whatever an archive says of its entries, what is read has the
// announced size and sum, and the name that a client sees holds no control bytes.
func FuzzFindEntry(f *testing.F) {
	seed := zipOf(f, member{name: "a/b.txt", content: "hello"}, member{name: "../x", content: "x"}, member{name: "l", content: "a", change: func(h *zip.FileHeader) { h.SetMode(os.ModeSymlink) }})
	for _, name := range []string{"a/b.txt", "../x", "l", "a\r\nSet-Cookie: x", "/", "ü\"\\", "a/b.txt\x00"} {
		f.Add(seed, name)
	}
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		if value := attachment(filepath.Base(name)); strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Errorf("Content-Disposition %q", value)
		}
		a := memory{bytes.NewReader(data)}
		e, err := findEntry(a, name)
		if err != nil {
			return
		}
		if !filepath.IsLocal(name) {
			t.Errorf("found %q", name)
		}
		if e.size > 1<<20 {
			return
		}
		if got, err := io.ReadAll(e.reader(a)); err == nil && (int64(len(got)) != e.size || crc32.ChecksumIEEE(got) != e.crc) {
			t.Errorf("%d bytes instead of %d", len(got), e.size)
		}
	})
}
