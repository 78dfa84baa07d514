// Package s3test is object storage for tests: one bucket that speaks as much of the
// S3 protocol as our services use, keeps its objects below a directory, and refuses
// whatever is not signed as AWS's Signature Version 4 asks. The check of signatures
// is our own, so that it does not repeat the faults of the client.
package s3test

import (
	"crypto/md5" //nolint:gosec // an ETag is one
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What the clients of every Server are given.
const (
	Bucket    = "gitsplit-test"
	Region    = "eu-test-1"
	AccessKey = "AKTESTTESTTEST"
	SecretKey = "secret/of+the=tests" //nolint:gosec // of tests
)

// Server is one bucket. It is safe for concurrent use.
type Server struct {
	http     *httptest.Server
	dir      string
	down     atomic.Bool
	mu       sync.Mutex
	requests map[string]int
	objects  map[string]object
	uploads  map[string]*upload
	next     int
}

// object is a stored object, or a part of one.
type object struct {
	path     string
	etag     string
	size     int64
	modified time.Time
}

// upload is an object that comes in parts.
type upload struct {
	key     string
	started time.Time
	parts   map[int]object
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	s := &Server{dir: tb.TempDir(), requests: map[string]int{}, objects: map[string]object{}, uploads: map[string]*upload{}}
	s.http = httptest.NewServer(s)
	tb.Cleanup(s.http.Close)
	return s
}

// URL is the address of the bucket, as the setting object_storage takes it.
func (s *Server) URL() string {
	return "s3://" + Bucket + "?" + url.Values{"region": {Region}, "endpoint": {s.http.URL}}.Encode()
}

// Credentials writes a file as AWS_SHARED_CREDENTIALS_FILE names one, and returns
// its name.
func Credentials(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "credentials")
	text := fmt.Sprintf("[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", AccessKey, SecretKey)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// SetDown makes every answer an error of the server, or ends that.
func (s *Server) SetDown(down bool) { s.down.Store(down) }

// Keys returns the keys of all objects with their sizes.
func (s *Server) Keys() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys := make(map[string]int64, len(s.objects))
	for key, o := range s.objects {
		keys[key] = o.size
	}
	return keys
}

// Uploads is how many objects are coming in parts.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

// Requests returns how often an operation was asked for: a method, with the name of
// what the query asks for, as in "POST uploads".
func (s *Server) Requests(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[operation]
}

// Age makes all objects and unfinished uploads older.
func (s *Server) Age(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, o := range s.objects {
		o.modified = o.modified.Add(-by)
		s.objects[key] = o
	}
	for _, u := range s.uploads {
		u.started = u.started.Add(-by)
	}
}

// fault is an answer of S3 that is none of success.
type fault struct {
	status  int
	code    string
	message string
}

func (f *fault) Error() string { return f.code + ": " + f.message }

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := s.serve(w, r)
	if err == nil {
		return
	}
	f, ok := err.(*fault) //nolint:errorlint // never wrapped
	if !ok {
		f = &fault{http.StatusInternalServerError, "InternalError", err.Error()}
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: f.code, Message: f.message})
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	if s.down.Load() {
		return &fault{http.StatusServiceUnavailable, "ServiceUnavailable", "down for the test"}
	}
	if err := verify(r, time.Now()); err != nil {
		return &fault{http.StatusForbidden, "SignatureDoesNotMatch", err.Error()}
	}
	bucket, key := split(r.URL.Path)
	if bucket != Bucket {
		return &fault{http.StatusNotFound, "NoSuchBucket", bucket}
	}
	q := r.URL.Query()
	operation := r.Method
	for _, name := range []string{"uploads", "uploadId", "list-type"} {
		if q.Has(name) {
			operation += " " + name
		}
	}
	s.mu.Lock()
	s.requests[operation]++
	s.mu.Unlock()
	handle, ok := map[string]func(http.ResponseWriter, *http.Request, string, url.Values) error{
		"PUT": s.put, "GET": s.get, "HEAD": s.get, "DELETE": s.remove, "GET list-type": s.list,
		"POST uploads": s.begin, "PUT uploadId": s.putPart, "POST uploadId": s.complete, "DELETE uploadId": s.abort, "GET uploads": s.listUploads,
	}[operation]
	if !ok {
		return &fault{http.StatusNotImplemented, "NotImplemented", operation}
	}
	return handle(w, r, key, q)
}

func (s *Server) put(w http.ResponseWriter, r *http.Request, key string, _ url.Values) error {
	o, err := s.receive(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.objects[key] = o
	s.mu.Unlock()
	return s.stored(w, r, o)
}

// stored answers to a PUT: a copy has a document.
func (*Server) stored(w http.ResponseWriter, r *http.Request, o object) error {
	w.Header().Set("ETag", o.etag)
	if r.Header.Get("X-Amz-Copy-Source") == "" {
		return nil
	}
	return xml.NewEncoder(w).Encode(struct {
		XMLName      xml.Name `xml:"CopyObjectResult"`
		ETag         string
		LastModified string
	}{ETag: o.etag, LastModified: o.modified.UTC().Format(time.RFC3339)})
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, key string, _ url.Values) error {
	s.mu.Lock()
	o, ok := s.objects[key]
	s.mu.Unlock()
	if !ok {
		return &fault{http.StatusNotFound, "NoSuchKey", key}
	}
	file, err := os.Open(o.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	w.Header().Set("ETag", o.etag)
	w.Header().Set("Content-Type", "binary/octet-stream")
	w.Header().Set("X-Amz-Request-Id", "of the test")
	http.ServeContent(w, r, "", o.modified, file)
	return nil
}

func (s *Server) remove(w http.ResponseWriter, _ *http.Request, key string, _ url.Values) error {
	s.mu.Lock()
	delete(s.objects, key)
	s.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// receive stores the body of a request, or what it asks to copy.
func (s *Server) receive(r *http.Request) (object, error) {
	var body io.Reader = r.Body
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		file, part, err := s.source(source, r.Header.Get("X-Amz-Copy-Source-Range"))
		if err != nil {
			return object{}, err
		}
		defer func() { _ = file.Close() }() // only read
		body = part
	} else if r.ContentLength < 0 {
		return object{}, &fault{http.StatusLengthRequired, "MissingContentLength", "the length must be told"}
	}
	return s.write(body)
}

// source opens what a copy is made of; spans is "bytes=0-99", or "" for all.
func (s *Server) source(name, spans string) (*os.File, io.Reader, error) {
	path, err := url.PathUnescape(name)
	if err != nil {
		return nil, nil, err
	}
	_, key := split(path)
	s.mu.Lock()
	o, ok := s.objects[key]
	s.mu.Unlock()
	if !ok {
		return nil, nil, &fault{http.StatusNotFound, "NoSuchKey", key}
	}
	file, err := os.Open(o.path)
	if err != nil || spans == "" {
		return file, file, err
	}
	var first, last int64
	if _, err := fmt.Sscanf(spans, "bytes=%d-%d", &first, &last); err != nil || last >= o.size {
		return nil, nil, &fault{http.StatusBadRequest, "InvalidArgument", spans}
	}
	return file, io.NewSectionReader(file, first, last-first+1), nil
}

func (s *Server) write(body io.Reader) (object, error) {
	file, err := os.CreateTemp(s.dir, "object")
	if err != nil {
		return object{}, err
	}
	sum := md5.New() //nolint:gosec // an ETag is one
	n, err := io.Copy(io.MultiWriter(file, sum), body)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return object{}, &fault{http.StatusBadRequest, "IncompleteBody", err.Error()}
	}
	return object{path: file.Name(), etag: `"` + hex.EncodeToString(sum.Sum(nil)) + `"`, size: n, modified: time.Now()}, nil
}
