package senddata

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"time"
)

// tailSize is what the first request asks for: the end of an archive is its list, or
// says where that begins.
const tailSize = 64 << 10

// remoteArchive reads an archive from another server, object storage mostly, in
// ranges. The first answer brings the end and the size; later reads go on in the
// answer that is open as long as they go forward. It is for one goroutine.
type remoteArchive struct {
	get    func(ranges string) (*http.Response, error)
	cancel context.CancelFunc
	size   int64
	tail   []byte
	body   io.ReadCloser // nil: none is open
	at     int64         // of the next byte in body
}

func openRemote(ctx context.Context, address string) (*remoteArchive, error) {
	ctx, cancel := context.WithCancel(ctx)
	transport := &http.Transport{DisableCompression: true, ForceAttemptHTTP2: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	a := &remoteArchive{
		cancel: func() { cancel(); transport.CloseIdleConnections() },
		get: func(ranges string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
			if err != nil {
				return nil, errors.New("the archive's address is none") // it may hold a secret
			}
			req.Header.Set("Range", ranges)
			res, err := client.Do(req) //nolint:gosec // rails-api alone names the address
			return res, hideAddress(err)
		},
	}
	if err := a.start(); err != nil {
		a.close()
		return nil, fmt.Errorf("read a remote archive: %w", err)
	}
	return a, nil
}

// hideAddress takes the address, which may be signed, out of an error.
func hideAddress(err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		return outer.Err
	}
	return err
}

// start learns the size, and keeps the end.
func (a *remoteArchive) start() error {
	defer a.guard()()
	begin, err := a.open(fmt.Sprintf("bytes=-%d", tailSize))
	if err != nil {
		return err
	}
	if a.size-begin > tailSize {
		return fmt.Errorf("asked for the last %d bytes, got %d", tailSize, a.size-begin)
	}
	a.tail = make([]byte, a.size-begin)
	_, err = io.ReadFull(a.body, a.tail)
	return errors.Join(err, a.drop())
}

// guard ends everything when the other side moves nothing for long. What it returns
// calls it off.
func (a *remoteArchive) guard() func() {
	timer := time.AfterFunc(urlTimeout, a.cancel)
	return func() { timer.Stop() }
}

// open asks for a range, and returns where the answer begins.
func (a *remoteArchive) open(ranges string) (begin int64, err error) {
	res, err := a.get(ranges)
	if err != nil {
		return 0, err
	}
	var end, size int64
	switch _, scanErr := fmt.Sscanf(res.Header.Get("Content-Range"), "bytes %d-%d/%d", &begin, &end, &size); {
	case res.StatusCode == http.StatusNotFound:
		err = fs.ErrNotExist
	case res.StatusCode != http.StatusPartialContent:
		err = fmt.Errorf("status %d: want a part", res.StatusCode)
	case scanErr != nil || begin < 0 || begin > end || end != size-1 || a.size > 0 && size != a.size:
		err = fmt.Errorf("answer for another range: %q", res.Header.Get("Content-Range"))
	}
	if err != nil {
		return 0, errors.Join(err, res.Body.Close())
	}
	a.body, a.at, a.size = res.Body, begin, size
	return begin, nil
}

// ReadAt serves the end from memory.
func (a *remoteArchive) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= a.size {
		return 0, io.EOF
	}
	part := p[:min(int64(len(p)), a.size-off)]
	n := len(part)
	if begin := a.size - int64(len(a.tail)); off >= begin {
		copy(part, a.tail[off-begin:])
	} else {
		defer a.guard()()
		var err error
		if err = a.seek(off); err == nil {
			n, err = io.ReadFull(a.body, part)
			a.at += int64(n)
		}
		if err != nil {
			return 0, fmt.Errorf("read a remote archive: %w", err)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// seek reads over small gaps, and else asks anew.
func (a *remoteArchive) seek(off int64) error {
	if gap := off - a.at; a.body != nil && gap >= 0 && gap <= tailSize {
		skipped, err := io.CopyN(io.Discard, a.body, gap)
		a.at += skipped
		return err
	}
	if err := a.drop(); err != nil {
		return err
	}
	switch begin, err := a.open(fmt.Sprintf("bytes=%d-", off)); {
	case err != nil:
		return err
	case begin != off:
		return fmt.Errorf("asked for byte %d, got %d", off, begin)
	}
	return nil
}

func (a *remoteArchive) drop() error {
	if a.body == nil {
		return nil
	}
	err := a.body.Close()
	a.body = nil
	return err
}

func (a *remoteArchive) length() int64 { return a.size }

func (a *remoteArchive) close() {
	a.cancel() // an answer that is not read to its end is not waited for
	_ = a.drop()
}
