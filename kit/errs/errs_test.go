package errs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"gitsplit/kit/errs"
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		err     error
		want    errs.Kind
		msg     string
		status  int
		display string
	}{
		{"plain", io.EOF, errs.Internal, "", http.StatusInternalServerError, "EOF"},
		{"direct", errs.New(errs.NotFound, "no such project"), errs.NotFound, "no such project", http.StatusNotFound, "no such project"},
		{"wrapped deep", fmt.Errorf("load: %w", errs.Wrap(errs.Denied, "may not", io.EOF)), errs.Denied, "may not", http.StatusForbidden, "load: may not: EOF"},
		{"formatted", errs.Newf(errs.Invalid, "bad %q", "x"), errs.Invalid, `bad "x"`, http.StatusBadRequest, `bad "x"`},
		{"no message", errs.Wrap(errs.Unavailable, "", io.EOF), errs.Unavailable, "", http.StatusServiceUnavailable, "EOF"},
		{"cancelled", fmt.Errorf("call: %w", context.Canceled), errs.Canceled, "", 499, "call: context canceled"},
		{"late", context.DeadlineExceeded, errs.Timeout, "", http.StatusGatewayTimeout, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := errs.KindOf(tc.err); got != tc.want {
				t.Errorf("KindOf = %v, want %v", got, tc.want)
			}
			if got := errs.Message(tc.err); got != tc.msg {
				t.Errorf("Message = %q, want %q", got, tc.msg)
			}
			if got := errs.KindOf(tc.err).HTTPStatus(); got != tc.status {
				t.Errorf("HTTPStatus = %d, want %d", got, tc.status)
			}
			if got := tc.err.Error(); got != tc.display {
				t.Errorf("Error = %q, want %q", got, tc.display)
			}
		})
	}
}

func TestError_Unwrap(t *testing.T) {
	t.Parallel()
	if !errors.Is(errs.Wrap(errs.Internal, "m", io.EOF), io.EOF) {
		t.Error("cause is lost")
	}
	if got := errs.Kind(200).String(); got != "unknown" {
		t.Errorf("String of an unknown kind = %q", got)
	}
}
