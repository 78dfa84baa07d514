package storage

import (
	"bytes"
	"crypto/md5" //nolint:gosec // the tag of an object
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/s3test"
	"gitsplit/services/rails-api/internal/uploaded"
)

// TestMain gives all tests the credentials of s3test, and AWS's files nothing to say.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": s3test.AccessKey, "AWS_SECRET_ACCESS_KEY": s3test.SecretKey, "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func openS3(t *testing.T) (*Store, *s3test.Server) {
	t.Helper()
	server := s3test.New(t)
	s, err := Open(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, server
}

// ask sends a request to a signed address.
func ask(t *testing.T, method, address, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(text)
}

// send stores content as workhorse does with a destination.
func send(t *testing.T, s *Store, content string, maximum int64) (uploaded.File, *uploaded.RemoteObject) {
	t.Helper()
	d, err := s.Destination(t.Context(), maximum, "sha256")
	if err != nil {
		t.Fatal(err)
	}
	if d.RemoteObject == nil || d.TempPath != "" || d.MaximumSize != maximum {
		t.Fatalf("destination %+v", d)
	}
	o := d.RemoteObject
	file := uploaded.File{RemoteID: o.ID, Size: int64(len(content))}
	if o.MultipartUpload == nil {
		res, text := ask(t, http.MethodPut, o.StoreURL, content, nil)
		sum := md5.Sum([]byte(content)) //nolint:gosec // the tag of an object
		if res.StatusCode != http.StatusOK || res.Header.Get("ETag") != `"`+hex.EncodeToString(sum[:])+`"` {
			t.Fatalf("PUT: %d %s, tag %s", res.StatusCode, text, res.Header.Get("ETag"))
		}
		if !slices.Equal(d.UploadHashFunctions, []string{"md5", "sha256"}) {
			t.Errorf("sums %v", d.UploadHashFunctions)
		}
		return file, o
	}
	type part struct {
		PartNumber int
		ETag       string
	}
	var list struct {
		XMLName xml.Name `xml:"CompleteMultipartUpload"`
		Part    []part
	}
	for i, rest := 0, content; i == 0 || rest != ""; i++ {
		n := min(int64(len(rest)), o.MultipartUpload.PartSize)
		res, text := ask(t, http.MethodPut, o.MultipartUpload.PartURLs[i], rest[:n], nil)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("part %d: %d %s", i, res.StatusCode, text)
		}
		list.Part = append(list.Part, part{i + 1, res.Header.Get("ETag")})
		rest = rest[n:]
	}
	document, err := xml.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if res, text := ask(t, http.MethodPost, o.MultipartUpload.CompleteURL, string(document), nil); res.StatusCode != http.StatusOK {
		t.Fatalf("complete: %d %s", res.StatusCode, text)
	}
	return file, o
}

func TestStore_bucket(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	const key = "lfs/ab/cd/ef"
	if _, err := s.Size(t.Context(), key); errs.KindOf(err) != errs.NotFound {
		t.Errorf("an empty bucket: %v", err)
	}
	if err := s.Delete(t.Context(), key); err != nil {
		t.Errorf("delete in an empty bucket: %v", err)
	}
	if s.TempDir() != "" {
		t.Errorf("a directory for uploads: %q", s.TempDir())
	}
	for range 2 { // the same content again is fine
		f, o := send(t, s, "the content", 11)
		if err := s.Keep(t.Context(), f, key); err != nil {
			t.Fatal(err)
		}
		if res, text := ask(t, http.MethodGet, o.GetURL, "", nil); res.StatusCode != http.StatusOK || text != "the content" {
			t.Errorf("GetURL: %d %s", res.StatusCode, text)
		}
		if res, text := ask(t, http.MethodDelete, o.DeleteURL, "", nil); res.StatusCode != http.StatusNoContent {
			t.Errorf("DeleteURL: %d %s", res.StatusCode, text)
		}
	}
	if keys := server.Keys(); len(keys) != 1 || keys[key] != 11 {
		t.Errorf("objects: %v", keys)
	}
	checkSend(t, s, key)
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), httptest.NewRecorder(), key, "", ""); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a deleted file: %v", err)
	}
	if _, err := s.Open(t.Context(), key); errs.KindOf(err) != errs.NotFound {
		t.Errorf("open a deleted file: %v", err)
	}
}

// checkSend follows what workhorse is told to send.
func checkSend(t *testing.T, s *Store, key string) {
	t.Helper()
	w := httptest.NewRecorder()
	if err := s.Send(t.Context(), w, key, "application/octet-stream", "a.txt"); err != nil {
		t.Fatal(err)
	}
	text, ok := strings.CutPrefix(w.Header().Get("Gitlab-Workhorse-Send-Data"), "send-url:")
	raw, err := base64.URLEncoding.DecodeString(text)
	var p struct {
		URL                              string
		RestrictForwardedResponseHeaders struct {
			Enabled   bool
			AllowList []string
		}
	}
	if !ok || err != nil || json.Unmarshal(raw, &p) != nil {
		t.Fatalf("headers %v, %v", w.Header(), err)
	}
	if !p.RestrictForwardedResponseHeaders.Enabled || slices.Contains(p.RestrictForwardedResponseHeaders.AllowList, "Content-Type") {
		t.Errorf("the headers of object storage are passed: %+v", p)
	}
	res, body := ask(t, http.MethodGet, p.URL, "", http.Header{"Range": {"bytes=4-6"}})
	if res.StatusCode != http.StatusPartialContent || body != "con" {
		t.Errorf("a range: %d %q", res.StatusCode, body)
	}
	if res, _ := ask(t, http.MethodDelete, p.URL, "", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("an address to read permits to delete: %d", res.StatusCode)
	}
	if res, _ := ask(t, http.MethodGet, strings.Replace(p.URL, key, "lfs/other", 1), "", nil); res.StatusCode != http.StatusForbidden {
		t.Errorf("an address is good for another object: %d", res.StatusCode)
	}
}

func TestStore_bucketParts(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	content := strings.Repeat("0123456789abcdef", (smallPart+5)/16+1)
	f, _ := send(t, s, content, largestPut+1)
	if err := s.Keep(t.Context(), f, "lfs/large"); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "lfs/large")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); string(got) != content || err != nil {
		t.Errorf("%d bytes instead of %d, %v", len(got), len(content), err)
	}
	d, err := s.Destination(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	m := d.RemoteObject.MultipartUpload
	if len(m.PartURLs) != maxParts || m.PartSize != usualPart {
		t.Errorf("without a bound: %d parts of %d", len(m.PartURLs), m.PartSize)
	}
	if res, text := ask(t, http.MethodDelete, m.AbortURL, "", nil); res.StatusCode != http.StatusNoContent || server.Uploads() != 0 {
		t.Errorf("abort: %d %s, %d left", res.StatusCode, text, server.Uploads())
	}
	if _, err := s.Destination(t.Context(), maxParts*largestPart+1); errs.KindOf(err) != errs.Invalid {
		t.Errorf("more than object storage takes: %v", err)
	}
}

func TestPartSize(t *testing.T) {
	t.Parallel()
	for maximum, want := range map[int64]int64{0: usualPart, 1: smallPart, 5 << 30: 52 * mib, maxParts * largestPart: largestPart} {
		if got := partSize(maximum); got != want || maximum > got*maxParts {
			t.Errorf("partSize(%d) = %d, want %d", maximum, got, want)
		}
	}
}

// TestBucket_copyParts copies with the size told larger than it is, so that no test
// needs hundreds of megabytes.
func TestBucket_copyParts(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	b := s.backend.(*bucket)
	if err := s.Put(t.Context(), "lfs/small", strings.NewReader("small")); err != nil {
		t.Fatal(err)
	}
	if err := b.copyParts(t.Context(), "lfs/small", "lfs/copy", 5); err != nil {
		t.Fatal(err)
	}
	if n := server.Keys()["lfs/copy"]; n != 5 {
		t.Errorf("a copy of %d bytes", n)
	}
	if err := b.copyParts(t.Context(), "lfs/small", "lfs/none", largestCopy+1); err == nil || server.Uploads() != 0 {
		t.Errorf("a copy that cannot be made: %v, %d left", err, server.Uploads())
	}
}

func TestStore_bucketRefuses(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	f, _ := send(t, s, "content", 7)
	if err := s.Put(t.Context(), "lfs/secret", strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]uploaded.File{
		"an object that is no upload":  {RemoteID: "lfs/secret", Size: 7},
		"an upload that is not there":  {RemoteID: strings.Repeat("0", 32), Size: 7},
		"a local file":                 {Path: "/etc/passwd", Size: 7},
		"another size than was stored": {RemoteID: f.RemoteID, Size: 8},
	} {
		if err := s.Keep(t.Context(), file, "lfs/new"); err == nil {
			t.Errorf("%s was kept", name)
		}
	}
	if _, ok := server.Keys()["lfs/new"]; ok {
		t.Error("something was kept")
	}
}

func TestStore_bucketDown(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	server.SetDown(true)
	for name, do := range map[string]func() error{
		"place":  func() error { _, err := s.Destination(t.Context(), 0); return err },
		"keep":   func() error { return s.Keep(t.Context(), uploaded.File{RemoteID: NewKey("tmp/uploads")}, "lfs/a") },
		"delete": func() error { return s.Delete(t.Context(), "lfs/a") },
		"put":    func() error { return s.Put(t.Context(), "lfs/a", strings.NewReader("")) },
		"sweep":  func() error { return s.Sweep(t.Context(), time.Now()) },
		"send":   func() error { return s.Send(t.Context(), httptest.NewRecorder(), "lfs/a", "", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := do()
			if errs.KindOf(err) != errs.Unavailable || errs.Message(err) != unavailable || strings.Contains(fmt.Sprint(err), "Signature=") {
				t.Errorf("while object storage is down: %v", err)
			}
		})
	}
}

func TestStore_bucketSweep(t *testing.T) {
	t.Parallel()
	s, server := openS3(t)
	send(t, s, "left behind", 11)
	if err := s.Put(t.Context(), "lfs/kept", strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Destination(t.Context(), largestPut+1); err != nil {
		t.Fatal(err)
	}
	server.Age(2 * time.Hour)
	young, _ := send(t, s, "under way", 9)
	if err := s.Sweep(t.Context(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	keys := server.Keys()
	if len(keys) != 2 || keys["lfs/kept"] != 4 || keys[young.RemoteID] != 9 || server.Uploads() != 0 {
		t.Errorf("left: %v and %d uploads", keys, server.Uploads())
	}
}

// TestStore_copies: List, Open and Put do the same wherever the files lie.
func TestStore_copies(t *testing.T) {
	t.Parallel()
	inBucket, _ := openS3(t)
	inDirectory, _ := open(t)
	for name, s := range map[string]*Store{"bucket": inBucket, "directory": inDirectory} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			if err := s.List(ctx, func(key string, _ int64) error { return errors.New(key) }); err != nil {
				t.Errorf("an empty store lists %v", err)
			}
			for key, content := range map[string]string{"lfs/b": "old", "attachments/1/a": "xyz"} {
				if err := s.Put(ctx, key, strings.NewReader(content)); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Put(ctx, "lfs/b", strings.NewReader("newer")); err != nil {
				t.Fatal(err)
			}
			if err := s.Put(ctx, "lfs/c", io.MultiReader(strings.NewReader("half"), brokenReader{})); err == nil {
				t.Error("half a file was stored")
			}
			var got []string
			err := s.List(ctx, func(key string, size int64) error {
				r, err := s.Open(ctx, key)
				if err != nil {
					return err
				}
				defer r.Close()
				var b bytes.Buffer
				_, err = b.ReadFrom(r)
				got = append(got, fmt.Sprintf("%s %d %s", key, size, &b))
				return err
			})
			if want := []string{"attachments/1/a 3 xyz", "lfs/b 5 newer"}; !slices.Equal(got, want) || err != nil {
				t.Errorf("List: %q, %v; want %q", got, err, want)
			}
			stop := errors.New("stop")
			if err := s.List(ctx, func(string, int64) error { return stop }); !errors.Is(err, stop) {
				t.Errorf("List went on: %v", err)
			}
			if _, err := s.Open(ctx, "lfs/none"); errs.KindOf(err) != errs.NotFound {
				t.Errorf("Open of what is not there: %v", err)
			}
		})
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
