package ref

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestHeadFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ref: refs/heads/main\n":                     "refs/heads/main",
		"ref: refs/heads/a/b c\n":                    "",
		"ref: refs/heads/.invalid\n":                 "", // of a reftable
		"ref: refs/heads/main":                       "", // cut off
		"ref: main\n":                                "",
		"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\n": "",
		"": "",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "HEAD"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := headFile(dir); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := errors.Join(os.WriteFile(target, []byte("ref: refs/heads/main\n"), 0o600), os.Symlink(target, filepath.Join(dir, "HEAD"))); err != nil {
		t.Fatal(err)
	}
	if got := headFile(dir); got != "" {
		t.Errorf("through a symbolic link: %q", got)
	}
}
