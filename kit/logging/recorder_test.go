package logging_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"gitsplit/kit/logging"
)

// final takes informational heads, which httptest's recorder holds for the only one.
type final struct{ http.ResponseWriter }

func (f final) WriteHeader(status int) {
	if status >= 200 {
		f.ResponseWriter.WriteHeader(status)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		answer  func(w http.ResponseWriter)
		status  int
		begun   bool
		written int64
	}{
		{name: "nothing", answer: func(http.ResponseWriter) {}, status: 200},
		{name: "hints alone", answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, status: 200},
		{name: "a body alone", answer: func(w http.ResponseWriter) { _, _ = io.WriteString(w, "body") }, status: 200, begun: true, written: 4},
		{name: "hints, head and body", answer: func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "short")
			_, _ = io.WriteString(w, "stout")
		}, status: 418, begun: true, written: 10},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rec := logging.NewRecorder(final{httptest.NewRecorder()})
			tc.answer(rec)
			if rec.Status() != tc.status || rec.Begun() != tc.begun || rec.First().IsZero() == tc.begun || rec.Written() != tc.written {
				t.Errorf("got %d, %t, %v, %d bytes", rec.Status(), rec.Begun(), rec.First(), rec.Written())
			}
		})
	}
}
