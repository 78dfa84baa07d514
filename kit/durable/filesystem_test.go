package durable

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestFileSystem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := OpenFileSystem(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(); err != nil {
		t.Error(err)
	}
	s.Close()
	if err := s.Sync(); !errors.Is(err, ErrSync) {
		t.Errorf("closed: %v", err)
	}
	if _, err := OpenFileSystem(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestTells(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"/proc", filepath.Join(t.TempDir(), "absent")} {
		if Tells(dir) {
			t.Errorf("%s has a file system to rely on", dir)
		}
	}
	for release, want := range map[string]bool{
		"5.17": true, "5.17.0-1-amd64": true, "5.19.0": true, "6.1.0-13-amd64": true, "10.0": true, "5.17-rc1": true,
		"5.15.0": false, "5.8": false, "4.19.0": false, "": false, "5": false, "x.y": false, "5.x": false,
	} {
		if got := atLeast(release, 5, 17); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}
