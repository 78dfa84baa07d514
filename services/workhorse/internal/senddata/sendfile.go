package senddata

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// file sends the file that X-Sendfile names (wire/workhorse.md §5.5), with ranges
// and conditions. What is missing, or no regular file, is not found.
func (s *Sender) file(paths []string) http.Handler {
	return s.handler("sendfile", func(w http.ResponseWriter, r *http.Request, _ string) error {
		s.Metrics.sentFile(r.URL.Path)
		if len(paths) != 1 || !filepath.IsAbs(paths[0]) {
			return fmt.Errorf("rails-api named %q: want one absolute path", paths)
		}
		f, info, err := openFile(paths[0])
		if errors.Is(err, fs.ErrNotExist) {
			return &refusal{http.StatusNotFound, "404 page not found", err}
		}
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		serveFile(w, r, f, info.ModTime())
		return nil
	}, "")
}

// openFile opens a regular file; anything else is as if it were not there. A pipe
// is not waited for.
func openFile(path string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the path is rails-api's
	if err != nil {
		if errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENXIO) { // a file above it, a socket
			err = fs.ErrNotExist
		}
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q is no regular file: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// serveFile sends a file with ranges and conditions under the type and the name
// that rails-api gave it. The type is never guessed (security-baseline.md H5).
func serveFile(w http.ResponseWriter, r *http.Request, f *os.File, modified time.Time) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/octet-stream")
	}
	http.ServeContent(w, tameRanges(r), "", modified, f)
}

// maxRanges is how many ranges are served in one answer: each has headers of its
// own, and many small ones make an answer larger than the file. RFC 9110 §14.2
// lets a server ignore the header.
const maxRanges = 16

// tameRanges returns the request without a Range header of too many ranges.
func tameRanges(r *http.Request) *http.Request {
	if strings.Count(r.Header.Get("Range"), ",") < maxRanges {
		return r
	}
	tame := r.Clone(r.Context())
	tame.Header.Del("Range")
	return tame
}
