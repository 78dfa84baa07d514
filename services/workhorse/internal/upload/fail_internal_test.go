package upload

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/store"
)

// What the client is told of an upload that was not stored; what happened on our
// side stays there, but for a full disk.
func TestUploader_fail(t *testing.T) {
	t.Parallel()
	full := &os.PathError{Op: "write", Path: "/srv/uploads/tmp", Err: syscall.ENOSPC}
	for name, tc := range map[string]struct {
		err    error
		status int
		text   string
	}{
		"disk full":      {full, 500, "p: there is no room on the server; tell your administrator"},
		"quota":          {fmt.Errorf("store: %w", syscall.EDQUOT), 500, "p: there is no room on the server; tell your administrator"},
		"other":          {errors.New("secret of ours"), 500, "Internal Server Error"},
		"too large":      {store.ErrTooLarge, 413, "p: entity is too large"},
		"malformed":      {bad("the form is malformed", errors.New("secret of ours")), 400, "p: the form is malformed"},
		"broken off":     {fmt.Errorf("%w: %w", store.ErrSource, errors.New("secret of ours")), 400, "p: the upload broke off"},
		"stopped":        {fmt.Errorf("%w: %w", store.ErrSource, os.ErrDeadlineExceeded), 408, "p: nothing came in time"},
		"storage's time": {context.DeadlineExceeded, 504, "deadline exceeded"},
	} {
		w := httptest.NewRecorder()
		New(Options{Log: logging.Discard()}).fail(t.Context(), w, "p: ", tc.err)
		if got := strings.TrimSpace(w.Body.String()); w.Code != tc.status || got != tc.text {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, got, tc.status, tc.text)
		}
		if w.Header().Get("Connection") != "close" {
			t.Errorf("%s: the rest of the body would be read as a request", name)
		}
	}
}
