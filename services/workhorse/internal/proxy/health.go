package proxy

import (
	"fmt"
	"net/http"
	"strings"
)

// Health passes the health routes to rails-api and puts every failure in one
// form: JSON for readiness and liveness, text for health (wire/workhorse.md §1.7).
func Health(proxy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asJSON := !strings.HasSuffix(r.URL.Path, "/-/health")
		proxy.ServeHTTP(&healthWriter{ResponseWriter: w, asJSON: asJSON}, r)
	})
}

// healthWriter replaces the body of an error answer.
type healthWriter struct {
	http.ResponseWriter
	asJSON   bool
	written  bool
	replaced bool
}

func (w *healthWriter) WriteHeader(status int) {
	if status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.written {
		return
	}
	w.written = true
	h := w.Header()
	if status < 400 || h.Get("X-GitLab-Custom-Error") != "" {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.replaced = true
	body := http.StatusText(status) + "\n"
	contentType := "text/plain; charset=utf-8"
	if w.asJSON {
		body = fmt.Sprintf("{\"error\":%q,\"status\":%d}\n", http.StatusText(status), status)
		contentType = "application/json; charset=utf-8"
	}
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	h.Set("Content-Type", contentType)
	w.ResponseWriter.WriteHeader(status)
	_, _ = w.ResponseWriter.Write([]byte(body)) // the prober left
}

func (w *healthWriter) Write(p []byte) (int, error) {
	if !w.written {
		w.WriteHeader(http.StatusOK)
	}
	if w.replaced {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *healthWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
