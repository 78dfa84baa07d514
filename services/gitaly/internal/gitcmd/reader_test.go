package gitcmd

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	check := Spec{Name: "cat-file", Flags: []string{"--batch-check"}}
	check.Stdin = strings.NewReader("x\ny\n")
	r, err := f.Reader(t.Context(), repo, check)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := io.ReadAll(r); string(out) != "x missing\ny missing\n" || err != nil {
		t.Errorf("read %q, %v", out, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	r, err = f.Reader(t.Context(), repo, Spec{Name: "rev-list", Args: []string{"none"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !Exited(err, 128) {
		t.Errorf("err = %v, want that git failed", err)
	}
	if _, err := r.Read(make([]byte, 1)); !Exited(err, 128) {
		t.Errorf("second time: err = %v, want that git failed", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := f.Reader(t.Context(), repo, Spec{Name: "daemon"}); err == nil {
		t.Error("what is not in the table was started")
	}
}

// TestReader_close: a git that is not read to its end, or waits for input, ends.
func TestReader_close(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), w.Close() }()
	waiting := Spec{Name: "cat-file", Flags: []string{"--batch-check"}, Stdin: in}
	r, err := f.Reader(t.Context(), repo, waiting)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if r, err = f.Reader(ctx, repo, waiting); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}
