package object_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/services/gitaly/internal/object"
)

var paths = []string{
	"a", "a/b", "a/b/c.txt", "-a", "ä/ö", "\xff", "a b", "a\tb", "a\nb", ".a", "..a", "a..", "...", ".gitignore", ".github/x", "git", "git~1x", "a/git~2",
	".", "..", "a/.", "a/..", "a/../b", "./a", "", "a//b", "/a", "a/",
	".git", ".git/config", "a/.git", "a/.git/x", ".GIT", ".giT/x", ".git ", ".git.", ".git . .", ".git.x", ".git x", ".git:x", ".git::$INDEX_ALLOCATION", ".git\\x",
	"git~1", "GIT~1/x", "git~1.", "git~1 ", "git~1:x", "a\\.git", "a\\git~1\\x", "a\\b", "\\.git\\", ".git\u200c", ".g\u200cit", ".\u2066git", ".g\u206ait/x", "\ufeff.git",
	".g\u200cit ", ".gi\u0131t", ".gıt", "a/.Git\u202e", ".git\xff", "\xff.git", ".g\u200dIT~1",
}

// links are paths that matter for symbolic links.
var links = []string{
	".gitmodules", "a/.gitmodules", ".GITMODULES", ".gitmodules ", ".gitmodules.", ".gitmodules:x", "gitmod~1", "GITMOD~4", "gitmod~5", "gi7eba~1", "gi7eba~9",
	"gi7eb~01", "gi7eb~10", "gi~12345", "gitmodules", ".gitmodulesx", ".gitm\u200codules", "a\\.gitmodules", "gitmod~1 .",
}

// gitTakes asks git whether it puts a path into an index.
func gitTakes(t *testing.T, repo, path, mode string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-c", "core.protectHFS=true", "-c", "core.protectNTFS=true", "--git-dir", repo, "update-index", "-z", "--index-info")
	cmd.Env = []string{"GIT_INDEX_FILE=" + filepath.Join(t.TempDir(), "index"), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1"}
	cmd.Stdin = strings.NewReader(mode + " " + strings.Repeat("1", 40) + "\t" + path + "\x00")
	out, err := cmd.CombinedOutput() // it says "Ignoring path" and goes on
	return err == nil && len(out) == 0
}

// TestValidPath compares the rules with git's own answer (security-baseline.md X4).
func TestValidPath(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "git", "init", "-q", "--bare", repo).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range paths {
		if path == "\\.git\\" { // git overlooks a backslash at the very beginning
			continue
		}
		if got, want := object.ValidPath(path, false), gitTakes(t, repo, path, "100644"); got != want {
			t.Errorf("ValidPath(%q) = %v, git says %v", path, got, want)
		}
	}
	for _, path := range links {
		if got, want := object.ValidPath(path, true), gitTakes(t, repo, path, "120000"); got != want {
			t.Errorf("ValidPath(%q) of a symbolic link = %v, git says %v", path, got, want)
		}
	}
	if object.ValidPath("a\x00b", false) {
		t.Error("NUL in a path")
	}
}

func FuzzValidPath(f *testing.F) {
	for _, p := range append(links, paths...) {
		f.Add(p)
	}
	repo := f.TempDir()
	if out, err := exec.CommandContext(f.Context(), "git", "init", "-q", "--bare", repo).CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for symlink, mode := range map[bool]string{false: "100644", true: "120000"} {
			if object.ValidPath(path, symlink) && !gitTakes(t, repo, path, mode) {
				t.Errorf("ValidPath(%q, %v), but git refuses it", path, symlink)
			}
		}
	})
}
