package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
)

// newClient returns the client for object storage. It follows no redirect: the
// address is signed for one host.
func newClient() *http.Client {
	const wait = 30 * time.Second
	return &http.Client{
		Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: wait}).DialContext,
			TLSHandshakeTimeout: wait, IdleConnTimeout: 90 * time.Second, MaxIdleConnsPerHost: 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// saveObject stores with one PUT. Object storage wants to know the length; what
// came without is put on disk first.
func (s *Store) saveObject(ctx context.Context, f *File, d Destination, src *source, size int64) error {
	o := d.RemoteObject
	ctx, cancel := context.WithTimeout(ctx, o.timeout())
	defer cancel()
	var body io.Reader = src
	if size < 0 {
		spool, n, err := s.spool(d, src)
		if err != nil {
			return err
		}
		defer func() { _ = spool.Close() }() // it has no name and was only read
		body, size = spool, n
	}
	header := http.Header{"Content-Type": {"application/octet-stream"}}
	if o.CustomPutHeaders {
		header = http.Header{}
	}
	for name, value := range o.PutHeaders {
		header.Set(name, value)
	}
	f.mode, f.ID, f.URL = modePut, o.ID, o.GetURL
	f.discard = func() { s.deleteObject(ctx, o.DeleteURL, o.SkipDelete) }
	etag, err := s.put(ctx, o.StoreURL, header, body, size)
	if err == nil {
		err = compareTag(etag, src)
	}
	if err != nil {
		s.deleteObject(ctx, o.DeleteURL, false)
		return err
	}
	return nil
}

// compareTag compares the tag of a plainly stored object, which is its MD5.
func compareTag(etag string, src *source) error {
	if md5, ok := src.sums.hex()["md5"]; ok {
		return sameTag(etag, md5)
	}
	return nil
}

func sameTag(etag, md5 string) error {
	if etag != "" && !strings.EqualFold(etag, md5) {
		return fmt.Errorf("object storage has another content: tag %q, md5 %s", etag, md5)
	}
	return nil
}

// put sends size bytes to a signed address and returns the tag they got: "" when
// it says nothing about the content, as that of an encrypted object.
func (s *Store) put(ctx context.Context, url string, header http.Header, body io.Reader, size int64) (etag string, err error) {
	guarded := &guard{r: io.LimitReader(body, size)}
	defer guarded.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, guarded)
	if err != nil {
		return "", errors.New("rails-api gave a bad address to store at")
	}
	if size == 0 {
		req.Body = http.NoBody
	}
	req.ContentLength, req.Header = size, header.Clone()
	res, err := s.send(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = res.Body.Close() }() // nothing of it is wanted
	if res.StatusCode != http.StatusOK {
		return "", refusal(res)
	}
	if encrypted := res.Header.Get("X-Amz-Server-Side-Encryption"); encrypted != "" && encrypted != "AES256" {
		return "", nil
	}
	return strings.Trim(res.Header.Get("ETag"), `"`), nil
}

// guard ends the reading of a body with the request: the transport may go on to
// read when the answer came early.
type guard struct {
	mu sync.Mutex
	r  io.Reader
}

func (g *guard) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.r == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	return g.r.Read(p)
}

func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.r = nil
}

// send sends a request to object storage. Its errors name no address, since the
// address is the permission.
func (s *Store) send(req *http.Request) (*http.Response, error) {
	req.Header.Set(correlation.Header, correlation.ID(req.Context()))
	res, err := s.client.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("object storage: %w", err)
	}
	return res, nil
}

func refusal(res *http.Response) error {
	const most = 512
	text, _ := io.ReadAll(io.LimitReader(res.Body, most)) // as far as it came
	return fmt.Errorf("object storage answered %d: %q", res.StatusCode, bytes.TrimSpace(text))
}

// spool puts what is left of src into a file without a name and returns the file
// at its beginning with its length.
func (s *Store) spool(d Destination, src io.Reader) (_ *os.File, n int64, err error) {
	dir := s.TempDir
	if d.LocalTempPath != "" {
		dir = d.LocalTempPath
	}
	if dir == "" {
		dir = os.TempDir()
	}
	file, err := s.openTemp(dir)
	if err != nil {
		return nil, 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	if err := os.Remove(file.Name()); err != nil {
		return nil, 0, fmt.Errorf("unlink: %w", err)
	}
	if n, err = io.Copy(file, src); err != nil {
		return nil, 0, err
	}
	if _, err = file.Seek(0, io.SeekStart); err != nil {
		return nil, 0, err
	}
	return file, n, nil
}

// deleteObject removes the temporary object, also when the request is over.
func (s *Store) deleteObject(ctx context.Context, url string, skip bool) {
	if skip || url == "" {
		return
	}
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, url, http.NoBody)
	if err != nil {
		s.Log.ErrorContext(ctx, "rails-api gave a bad address to delete at")
		return
	}
	res, err := s.send(req)
	if err == nil {
		if res.StatusCode >= http.StatusBadRequest && res.StatusCode != http.StatusNotFound {
			err = refusal(res)
		}
		err = errors.Join(err, res.Body.Close())
	}
	if err != nil {
		s.Log.WarnContext(ctx, "an object was not deleted", slog.Any(logging.KeyError, err))
	}
}
