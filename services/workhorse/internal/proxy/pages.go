package proxy

import (
	_ "embed" // the page
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/correlation"
)

// Pages are what people see in place of errors (wire/workhorse.md §9.2).
type Pages struct {
	own    map[int]string // by status, of the document root
	served *prometheus.CounterVec
}

//go:embed down.html
var page string

// texts are the failures for which workhorse has a page of its own: its title, and
// what to do.
var texts = map[int][2]string{
	http.StatusInternalServerError: {"Something went wrong on our side",
		"Try again. If it stays, tell your administrator the request ID below."},
	http.StatusBadGateway: {"GitLab is not responding",
		"It may be starting or being updated. Wait a moment and reload this page. If it stays, tell your administrator the request ID below."},
	http.StatusServiceUnavailable: {"GitLab is not available right now",
		"It may be busy or under maintenance. Wait a moment and reload this page. If it stays, tell your administrator the request ID below."},
	http.StatusGatewayTimeout: {"GitLab took too long to answer",
		"Wait a moment and reload this page. If it stays, tell your administrator the request ID below."},
}

// NewPages reads the pages of the document root, "<status>.html" for any status
// from 400 on; "" is no document root. They take precedence over workhorse's own.
func NewPages(documentRoot string, reg prometheus.Registerer) (*Pages, error) {
	p := &Pages{own: map[int]string{}, served: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gitlab_workhorse_static_error_responses",
		Help: "Errors that were shown as a page.",
	}, []string{"code"})}
	reg.MustRegister(p.served)
	if documentRoot == "" {
		return p, nil
	}
	for status := 400; status < 600; status++ {
		raw, err := os.ReadFile(filepath.Join(documentRoot, strconv.Itoa(status)+".html"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read an error page: %w", err)
		}
		p.own[status] = string(raw)
	}
	return p, nil
}

// page returns the page for a status, or "".
func (p *Pages) page(status int, id string) string {
	if own := p.own[status]; own != "" {
		return own
	}
	text, ok := texts[status]
	if !ok {
		return ""
	}
	return strings.NewReplacer("{{status}}", strconv.Itoa(status), "{{title}}", text[0], "{{text}}", text[1],
		"{{id}}", id).Replace(page) // ids have no special characters
}

// Show replaces error answers of next by pages, for clients that ask for HTML:
// people. git and others get the answer as it is, for they print it. An answer with
// X-GitLab-Custom-Error, or of JSON, is left alone.
func (p *Pages) Show(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "text/html") {
			w = &pageWriter{ResponseWriter: w, pages: p, id: correlation.ID(r.Context())}
		}
		next.ServeHTTP(w, r)
	})
}

// pageWriter replaces the body of an error answer by a page.
type pageWriter struct {
	http.ResponseWriter
	pages    *Pages
	id       string
	written  bool
	replaced bool
}

func (w *pageWriter) WriteHeader(status int) {
	if status < 200 || w.written {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.written = true
	body := ""
	if h := w.Header(); status >= 400 && h.Get("X-GitLab-Custom-Error") == "" && !isJSON(h) {
		body = w.pages.page(status, w.id)
	}
	if body == "" {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.replaced = true
	w.pages.served.WithLabelValues(strconv.Itoa(status)).Inc()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Range", "Etag", "Last-Modified"} {
		w.Header().Del(name)
	}
	for name, value := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "no-cache, no-store, max-age=0, must-revalidate",
		"Pragma":                 "no-cache",
		"Expires":                "Fri, 01 Jan 1990 00:00:00 GMT",
		"X-Content-Type-Options": "nosniff",
	} {
		w.Header().Set(name, value)
	}
	w.ResponseWriter.WriteHeader(status)
	_, _ = w.ResponseWriter.Write([]byte(body)) // the client left
}

func isJSON(h http.Header) bool {
	mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && mediaType == "application/json"
}

func (w *pageWriter) Write(p []byte) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	if w.replaced {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *pageWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
