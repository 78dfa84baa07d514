package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"gitsplit/kit/durable"
)

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	check := func(want string, mode os.FileMode) {
		t.Helper()
		got, err := os.ReadFile(path) //nolint:gosec // a test
		info, statErr := os.Stat(path)
		if err := errors.Join(err, statErr); err != nil || string(got) != want || info.Mode() != mode {
			t.Errorf("the file holds %q, %v; want %q, mode %v", got, err, want, mode)
		}
	}
	if err := durable.CreateFile(path, []byte("first"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("first", 0o600)
	if err := durable.CreateFile(path, []byte("other"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second CreateFile: %v", err)
	}
	check("first", 0o600)
	if err := durable.WriteFile(path, []byte("second"), 0o640); err != nil {
		t.Fatal(err)
	}
	check("second", 0o640)
	if err := durable.WriteFile(filepath.Join(dir, "absent", "f"), nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if err := durable.WriteFile(dir, nil, 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
