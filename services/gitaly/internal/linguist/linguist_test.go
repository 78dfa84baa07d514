package linguist_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gitsplit/services/gitaly/internal/linguist"
)

func TestProgram(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "gitaly-linguist")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/gitaly-linguist").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	p, err := linguist.Start(t.Context(), linguist.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}()
	read := 0
	for _, tc := range []struct{ file, head, want string }{
		{"a.go", "package a\n", "Go"},
		{"script", "#!/usr/bin/env python3\n", "Python"},
		{"vendor/a.go", "", ""},
	} {
		got, err := p.Language(linguist.Question{Path: tc.file}, func() ([]byte, error) {
			read++
			return []byte(tc.head), nil
		})
		if err != nil || got.Name != tc.want {
			t.Errorf("%s: %q, %v; want %q", tc.file, got.Name, err, tc.want)
		}
	}
	if read != 2 {
		t.Errorf("%d files were read, want 2: what does not count is not read", read)
	}
	unreadable := errors.New("unreadable")
	if _, err := p.Language(linguist.Question{Path: "b.go"}, func() ([]byte, error) { return nil, unreadable }); !errors.Is(err, unreadable) {
		t.Errorf("err = %v", err)
	}
}

// TestProgram_dies: whoever asks a program that is gone learns it, and does not wait.
func TestProgram_dies(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nread x\nexit 1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	p, err := linguist.Start(t.Context(), linguist.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Language(linguist.Question{Path: "a\n"}, nil); err == nil {
		t.Error("a dead program answered")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := linguist.Start(t.Context(), linguist.Options{Path: path + "-absent"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an absent program: %v", err)
	}
}

func TestProgram_cancelled(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, err := linguist.Start(ctx, linguist.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := p.Language(linguist.Question{Path: "a.go"}, nil); err == nil {
		t.Error("an answer from nowhere")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
