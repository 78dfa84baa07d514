package store

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/logging"
)

// bucket is a fake of object storage behind signed addresses.
type bucket struct {
	*httptest.Server
	mu      sync.Mutex
	calls   []string // method, path and length of each request, in order
	objects map[string]string
	answer  func(w http.ResponseWriter, r *http.Request) bool // reports whether it has answered
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{objects: map[string]string{}}
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.calls = append(b.calls, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, r.ContentLength))
	b.mu.Unlock()
	if b.answer != nil && b.answer(w, r) {
		return
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	b.mu.Lock()
	b.objects[r.URL.Path] = string(content)
	b.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		_, _ = io.WriteString(w, `<?xml version="1.0"?><CompleteMultipartUploadResult xmlns="http://s3"><Key>k</Key></CompleteMultipartUploadResult>`)
	case http.MethodPut:
		sum := md5.Sum(content)
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	}
}

func (b *bucket) seen() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.calls...)
}

func (b *bucket) object() RemoteObject {
	return RemoteObject{ID: "id-1", GetURL: b.URL + "/get", StoreURL: b.URL + "/store", DeleteURL: b.URL + "/delete"}
}

func (b *bucket) inParts(n int) RemoteObject {
	o := b.object()
	o.MultipartUpload = &MultipartUpload{PartSize: 4, CompleteURL: b.URL + "/complete", AbortURL: b.URL + "/abort"}
	for i := range n {
		o.MultipartUpload.PartURLs = append(o.MultipartUpload.PartURLs, fmt.Sprintf("%s/part%d", b.URL, i+1))
	}
	return o
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s := New(Options{TempDir: t.TempDir(), Log: logging.Discard(), Now: time.Now})
	t.Cleanup(s.Close)
	return s
}

func TestSave_object(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		size int64
		skip bool
		want []string
	}{
		"known length":             {size: 5, want: []string{"PUT /store 5", "DELETE /delete 0"}},
		"unknown length":           {size: -1, want: []string{"PUT /store 5", "DELETE /delete 0"}},
		"rails-api will delete it": {size: 5, skip: true, want: []string{"PUT /store 5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, s := newBucket(t), newStore(t)
			o := b.object()
			o.SkipDelete = tc.skip
			f, err := s.Save(t.Context(), Destination{RemoteObject: o}, "upload", iotest.OneByteReader(strings.NewReader("hello")), tc.size)
			if err != nil {
				t.Fatal(err)
			}
			fields := f.Fields()
			if b.objects["/store"] != "hello" || fields["remote_id"] != "id-1" || fields["path"] != "" || fields["md5"] != "5d41402abc4b2a76b9719d911017c592" {
				t.Errorf("stored %q as %v", b.objects["/store"], fields)
			}
			f.Discard()
			if diff := cmp.Diff(tc.want, b.seen()); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
			nothingIn(t, s.TempDir)
		})
	}
}

func TestSave_parts(t *testing.T) {
	t.Parallel()
	for content, want := range map[string][]string{
		"":          {"PUT /part1 0"},
		"abc":       {"PUT /part1 3"},
		"abcd":      {"PUT /part1 4"},
		"abcdefgh":  {"PUT /part1 4", "PUT /part2 4"},
		"abcdefghi": {"PUT /part1 4", "PUT /part2 4", "PUT /part3 1"},
	} {
		b, s := newBucket(t), newStore(t)
		f, err := s.Save(t.Context(), Destination{RemoteObject: b.inParts(3)}, "upload", strings.NewReader(content), -1)
		if err != nil {
			t.Fatal(err)
		}
		var done completion
		if err := xml.Unmarshal([]byte(b.objects["/complete"]), &done); err != nil || len(done.Parts) != len(want) {
			t.Errorf("%q: completed with %q, %v", content, b.objects["/complete"], err)
		}
		f.Discard()
		calls := b.seen()
		if diff := cmp.Diff(want, calls[:len(calls)-2]); diff != "" || calls[len(calls)-1] != "DELETE /delete 0" {
			t.Errorf("%q: requests %v", content, calls)
		}
		nothingIn(t, s.TempDir)
	}
}

// Whatever fails, object storage is told to forget, and nothing stays on disk.
func TestSave_objectFails(t *testing.T) {
	t.Parallel()
	refuse := func(path string, status int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				http.Error(w, "<Error/>", status)
			}
			return r.URL.Path == path
		}
	}
	cases := []struct {
		name   string
		parts  int
		max    int64
		body   io.Reader
		answer func(http.ResponseWriter, *http.Request) bool
		is     error
		last   string
	}{
		{name: "refused", answer: refuse("/store", 403), last: "DELETE /delete 0"},
		{name: "created is no success", answer: refuse("/store", 201), last: "DELETE /delete 0"},
		{name: "other content", answer: func(w http.ResponseWriter, r *http.Request) bool {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"00000000000000000000000000000000"`)
			return true
		}, last: "DELETE /delete 0"},
		{name: "part with other content", parts: 3, answer: func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/part2" {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("ETag", `"00000000000000000000000000000000"`)
			}
			return r.URL.Path == "/part2"
		}, last: "DELETE /abort 0"},
		{name: "part refused", parts: 3, answer: refuse("/part2", 500), last: "DELETE /abort 0"},
		{name: "not completed", parts: 3, answer: refuse("/complete", 200), last: "DELETE /abort 0"},
		{name: "more than all parts", parts: 1, is: ErrTooLarge, last: "DELETE /abort 0"},
		{name: "too large for one part of many", parts: 3, max: 7, is: ErrTooLarge, last: "DELETE /abort 0"},
		{name: "sender leaves", parts: 3, body: io.MultiReader(strings.NewReader("hello"), iotest.ErrReader(io.ErrUnexpectedEOF)), is: ErrSource,
			last: "DELETE /abort 0"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b, s := newBucket(t), newStore(t)
			b.answer = tc.answer
			o := b.object()
			if tc.parts > 0 {
				o = b.inParts(tc.parts)
			}
			body := tc.body
			if body == nil {
				body = strings.NewReader("hello world")
			}
			_, err := s.Save(t.Context(), Destination{RemoteObject: o, MaximumSize: tc.max}, "upload", body, -1)
			if err == nil || tc.is != nil && !errors.Is(err, tc.is) || strings.Contains(err.Error(), b.URL) {
				t.Errorf("error %v", err)
			}
			if calls := b.seen(); len(calls) == 0 || calls[len(calls)-1] != tc.last {
				t.Errorf("requests %v, want %q as the last", calls, tc.last)
			}
			nothingIn(t, s.TempDir)
		})
	}
}

// A full disk is told as such.
func TestSave_full(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.openTemp = func(string) (*os.File, error) {
		full, err := syscall.Open("/dev/full", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		// Its name is that of a file which may be removed.
		name := s.TempDir + "/" + prefix
		return os.NewFile(uintptr(full), name), os.WriteFile(name, nil, 0o600)
	}
	_, err := s.Save(t.Context(), Destination{TempPath: s.TempDir}, "upload", strings.NewReader("x"), -1)
	if !IsFull(err) {
		t.Errorf("got %v", err)
	}
	nothingIn(t, s.TempDir)
}

func TestSweep(t *testing.T) {
	t.Parallel()
	living, s := newStore(t), newStore(t)
	dir := living.TempDir
	f, err := living.Save(t.Context(), Destination{TempPath: dir}, "upload", strings.NewReader("x"), -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+prefix+"dead", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", dir+"/"+prefix+"link"); err != nil {
		t.Fatal(err)
	}
	s.Sweep(t.Context(), dir)
	if _, err := os.Lstat(f.Path); err != nil {
		t.Errorf("the file of a living writer: %v", err)
	}
	f.Discard()
	if err := os.Remove(dir + "/" + prefix + "link"); err != nil {
		t.Fatal(err)
	}
	nothingIn(t, dir)
}

func nothingIn(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind in %s: %v, %v", dir, entries, err)
	}
}
