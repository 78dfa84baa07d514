// Package static sends the files of the document root: what a site puts beside its
// pages, such as robots.txt, assets, and the page that stands for all of them while
// the site is updated (wire/workhorse.md §3, §9.2).
package static

import (
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options of Files.
type Options struct {
	Root string // directory; "" is none
	// AltRoot is a second directory, in which what is below /assets/ is looked for too.
	AltRoot string
	Prefix  string // relative URL root, "" or "/gitlab"
	Now     func() time.Time
}

// Files sends files. It is safe for concurrent use.
type Files struct{ Options }

// New returns Files.
func New(o Options) *Files { return &Files{o} }

// deployPage, while it is there, is the answer to everything that is no file.
const deployPage = "index.html"

// Serve answers with a file if there is one of the request's path, and leaves the
// rest to next. Of what people upload nothing lies here.
func (f *Files) Serve(next http.Handler) http.Handler {
	if f.Root == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, f.Prefix), "/")
		if reads && isPublic(name) && f.file(w, r, name) {
			return
		}
		if f.send(w, r, f.Root, deployPage) {
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isPublic leaves out what is hidden, and where uploads would lie.
func isPublic(name string) bool {
	return filepath.IsLocal(name) && !strings.HasPrefix(name, "uploads/") && !strings.Contains("/"+name, "/.") && name != deployPage
}

func (f *Files) file(w http.ResponseWriter, r *http.Request, name string) bool {
	roots := []string{f.Root}
	if strings.HasPrefix(name, "assets/") && f.AltRoot != "" {
		roots = append(roots, f.AltRoot)
	}
	return slices.ContainsFunc(roots, func(root string) bool { return f.send(w, r, root, name) })
}

// send sends a regular file, or its compressed sibling, and reports whether there
// is one. The names of assets change with their content.
func (f *Files) send(w http.ResponseWriter, r *http.Request, root, name string) bool {
	file, info, err := open(root, name)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // it was only read
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		h.Set("Content-Type", t)
	}
	h.Set("X-Content-Type-Options", "nosniff")
	switch {
	case strings.HasPrefix(name, "assets/"):
		h.Set("Cache-Control", "public")
		h.Set("Expires", f.Now().AddDate(1, 0, 0).UTC().Format(http.TimeFormat))
	case name == deployPage:
		h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	}
	if packed, packedInfo, err := open(root, name+".gz"); err == nil {
		defer func() { _ = packed.Close() }() // it was only read
		h.Set("Vary", "Accept-Encoding")
		if acceptsGzip(r) {
			h.Set("Content-Encoding", "gzip")
			file, info = packed, packedInfo
		}
	}
	h.Del("X-Accel-Buffering")
	http.ServeContent(w, r, "", info.ModTime(), file)
	return true
}

// acceptsGzip asks for the plain word: who says more gets the file as it is. Ranges
// are of the file as it is, too.
func acceptsGzip(r *http.Request) bool {
	if r.Header.Get("Range") != "" {
		return false
	}
	for word := range strings.SplitSeq(strings.Join(r.Header.Values("Accept-Encoding"), ","), ",") {
		if strings.TrimSpace(word) == "gzip" {
			return true
		}
	}
	return false
}

// open opens a regular file that lies below root, whatever links say.
func open(root, name string) (*os.File, fs.FileInfo, error) {
	dir, err := os.OpenRoot(root)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = dir.Close() }() // nothing is written through it
	file, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}
