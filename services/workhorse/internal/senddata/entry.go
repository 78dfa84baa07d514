package senddata

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// entryParams are the parameters of artifacts-entry.
type entryParams struct {
	Archive string // absolute path or URL of a zip
	Entry   string // base64 of the name of a file in it
}

// entry sends one file out of an archive of CI artifacts (wire/workhorse.md §5.1).
// People have made the archive: nothing in it is believed, and nothing of it reaches
// the disk.
func (s *Sender) entry(w http.ResponseWriter, r *http.Request, params string) error {
	var p entryParams
	if err := decode(params, &p); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(p.Entry)
	if err != nil {
		return fmt.Errorf("decode the name of an entry: %w", err)
	}
	name := string(raw)
	a, err := openArchive(r.Context(), p.Archive)
	if err != nil {
		return missing(err)
	}
	defer a.close()
	e, err := s.lookUp(r.Context(), a, name)
	if err != nil {
		return missing(err)
	}
	h := w.Header()
	h.Set("Content-Type", typeByName(name))
	h.Set("Content-Disposition", attachment(path.Base(name)))
	h.Set("Content-Length", strconv.FormatInt(e.size, 10))
	if r.Method == http.MethodHead {
		return nil
	}
	_, err = io.Copy(w, e.reader(a))
	return err
}

// lookUp finds an entry, for one request at a time: the list of an archive is held
// in memory meanwhile.
func (s *Sender) lookUp(ctx context.Context, a archive, name string) (zipEntry, error) {
	select {
	case s.lookUps <- struct{}{}:
	case <-ctx.Done():
		return zipEntry{}, ctx.Err()
	}
	defer func() { <-s.lookUps }()
	return findEntry(a, name)
}

// missing makes a 404 of what does not exist.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &refusal{http.StatusNotFound, "404 page not found", err}
	}
	return err
}

func typeByName(name string) string {
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

// archive is where a zip is read from.
type archive interface {
	io.ReaderAt
	length() int64
	close()
}

// openArchive opens the archive that rails-api named; what is missing is
// fs.ErrNotExist.
func openArchive(ctx context.Context, where string) (archive, error) {
	if strings.HasPrefix(where, "http://") || strings.HasPrefix(where, "https://") {
		return openRemote(ctx, where)
	}
	if !filepath.IsAbs(where) {
		return nil, errors.New("rails-api named an archive that is no absolute path and no URL")
	}
	f, info, err := openFile(where)
	if err != nil {
		return nil, err
	}
	return localArchive{f, info.Size()}, nil
}

type localArchive struct {
	*os.File
	size int64
}

func (a localArchive) length() int64 { return a.size }

func (a localArchive) close() { _ = a.Close() } // it was only read
