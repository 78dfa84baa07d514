package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/rest/param"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		err    error
		status int
		body   string
	}{
		{"parameters", &param.Error{Faults: []string{"a is missing", "b is invalid"}}, 400, `{"error":"a is missing, b is invalid"}`},
		{"field", fmt.Errorf("add: %w", postgres.Invalid("name", "is too long")), 400, `{"message":{"name":["is too long"]}}`},
		{"field of a conflict", errs.Wrap(errs.Conflict, "still in use", &postgres.FieldError{Field: "x", Msg: "y"}), 409, `{"message":"still in use"}`},
		{"invalid", errs.New(errs.Invalid, "no"), 400, `{"message":"400 Bad request - no"}`},
		{"unauthenticated", errs.New(errs.Unauthenticated, "x"), 401, `{"message":"401 Unauthorized"}`},
		{"denied", errs.New(errs.Denied, "403 Forbidden"), 403, `{"message":"403 Forbidden"}`},
		{"denied with a reason", errs.New(errs.Denied, "not you"), 403, `{"message":"403 Forbidden - not you"}`},
		{"not found keeps its words", errs.New(errs.NotFound, "user not found"), 404, `{"message":"404 Not found"}`},
		{"exists", errs.New(errs.Exists, ""), 409, `{"message":"409 Conflict"}`},
		{"precondition", errs.New(errs.FailedPrecondition, "not now"), 422, `{"message":"not now"}`},
		{"exhausted", errs.New(errs.Exhausted, "x"), 429, `{"message":"Retry later"}`},
		{"unavailable", errs.New(errs.Unavailable, "secret"), 503, `{"message":"503 Service Unavailable"}`},
		{"unimplemented", errs.New(errs.Unimplemented, "secret"), 501, `{"message":"501 Not Implemented"}`},
		{"deadline", context.DeadlineExceeded, 504, `{"message":"504 Gateway Timeout"}`},
		{"canceled", context.Canceled, 499, `{"message":"499 Client Closed Request"}`},
		{"internal kind", errs.New(errs.Internal, "secret"), 500, `{"message":"500 Internal Server Error"}`},
		{"plain", errors.New("secret"), 500, `{"message":"500 Internal Server Error"}`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := answer(tc.err)
			body, err := json.Marshal(f.body)
			if err != nil || f.status != tc.status || string(body) != tc.body {
				t.Errorf("got %d %s (%v), want %d %s", f.status, body, err, tc.status, tc.body)
			}
		})
	}
}

func TestFail_afterTheAnswerBegan(t *testing.T) {
	t.Parallel()
	a := &api{Deps: Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}}
	w := httptest.NewRecorder()
	a.fail(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil), aborted{errors.New("gone")})
	if w.Body.Len() != 0 {
		t.Errorf("wrote %q into the body of another answer", w.Body)
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"My  Project!": "my-project", "a_b.c": "a_b.c", "--x--": "x", "Ünïcode": "n-code", "日本": "", ".hidden": "hidden",
	} {
		if got := slug(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, seed := range []string{"", "/", "a/b", "../a", "a/../b", "a//b", "./a", "a/./b", "-x", "a\\b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, ok := cleanPath(in)
		if !ok || p == "" {
			return
		}
		if p[0] == '/' || p == ".." || p == "." {
			t.Errorf("%q became %q", in, p)
		}
	})
}

func FuzzNumber(f *testing.F) {
	for _, seed := range []string{"1", "0", "-1", "+1", "01", "1_0", "9223372036854775808", "a%2Fb"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if n, ok := number(in); ok && n <= 0 {
			t.Errorf("%q is the number %d", in, n)
		}
	})
}
