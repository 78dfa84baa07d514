package pg

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, v := range []string{"9", "15", "17"} {
		dir := filepath.Join(root, v, "bin")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, program := range []string{"postgres", "initdb"} {
			if err := os.WriteFile(filepath.Join(dir, program), nil, 0o700); err != nil { //nolint:gosec // a program
				t.Fatal(err)
			}
		}
	}
	pattern := filepath.Join(root, "*", "bin")
	tests := []struct{ name, want, found, fault string }{
		{"newest for a new cluster", "", "17", ""},
		{"the one that made the data", "15", "15", ""},
		{"gone since", "16", "", "apt-get install postgresql-16"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := find(pattern, tc.want)
			if tc.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tc.fault) {
					t.Errorf("find: %v, want %q", err, tc.fault)
				}
				return
			}
			if want := filepath.Join(root, tc.found, "bin"); err != nil || got != want {
				t.Errorf("find = %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestFind_notInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := find(filepath.Join(t.TempDir(), "*"), ""); !errors.Is(err, ErrMissing) {
		t.Errorf("find: %v, want %v", err, ErrMissing)
	}
}

func TestUseOutside_elsewhere(t *testing.T) {
	t.Parallel()
	c := Cluster{Dir: "data/postgres"}
	if err := c.useOutside("/etc"); err == nil {
		t.Error("a link to a place that is not ours was followed")
	}
}
