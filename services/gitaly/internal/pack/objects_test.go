package pack

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

func TestSpool(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("want something\n", 3*spoolMemory/15)
	full := filepath.Join(t.TempDir(), "no such directory")
	sums := map[string]string{}
	for _, tc := range []struct {
		name, in, dir string
		whole         bool
	}{
		{"empty", "", full, true}, {"short", "x\n", full, true}, {"exactly what memory holds", long[:spoolMemory], t.TempDir(), true},
		{"long", long, t.TempDir(), true}, {"long, and no disk", long, full, false},
	} {
		s, err := spool(iotest.HalfReader(strings.NewReader(tc.in)), tc.dir)
		if err != nil || s.whole() != tc.whole {
			t.Fatalf("%s: whole %v, %v", tc.name, s.whole(), err)
		}
		out, err := io.ReadAll(s.reader())
		s.close()
		if err != nil || string(out) != tc.in {
			t.Errorf("%s: %d bytes of %d, %v", tc.name, len(out), len(tc.in), err)
		}
		if sum := string(s.sum.Sum(nil)); tc.whole && sums[sum] != "" {
			t.Errorf("%s and %s have one sum", tc.name, sums[sum])
		} else {
			sums[sum] = tc.name
		}
		if left, _ := os.ReadDir(tc.dir); len(left) != 0 {
			t.Errorf("%s: left %v", tc.name, left)
		}
	}
	broken := errors.New("broken")
	for _, before := range []string{"", long} {
		if _, err := spool(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), t.TempDir()); !errors.Is(err, broken) {
			t.Errorf("err = %v", err)
		}
	}
}

// TestPackKey: whatever changes the pack changes the key, and who asks does not.
func TestPackKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	repo := func(rel string) *storage.Repo {
		return &storage.Repo{Repo: gitcmd.Repo{Dir: filepath.Join(dir, rel)}, Storage: &storage.Storage{Name: "default"}, RelativePath: rel}
	}
	for _, rel := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, rel), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := func(rel, stdin string, w Wanted) string {
		s, err := spool(strings.NewReader(stdin), dir)
		if err != nil {
			t.Fatal(err)
		}
		return packKey(repo(rel), w, s)
	}
	args := Wanted{Args: []string{"pack-objects", "--revs"}, Protocol: "ssh"}
	keys := map[string]string{
		"base": key("a", "x", args), "repository": key("b", "x", args), "stdin": key("a", "y", args),
		"arguments": key("a", "x", Wanted{Args: []string{"pack-objects", "--revs", "--thin"}, Protocol: "ssh"}),
		"split":     key("a", "x", Wanted{Args: []string{"pack-objects", "--re", "vs"}, Protocol: "ssh"}),
		"protocol":  key("a", "x", Wanted{Args: args.Args, Protocol: "http"}),
	}
	if key("a", "x", Wanted{Args: args.Args, Protocol: "ssh", RemoteIP: "192.0.2.1", Username: "ada"}) != keys["base"] {
		t.Error("the key depends on who asks")
	}
	if err := os.WriteFile(filepath.Join(dir, "a/shallow"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys["shallow"] = key("a", "x", args)
	if err := errors.Join(os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "old")), os.Mkdir(filepath.Join(dir, "a"), 0o700)); err != nil {
		t.Fatal(err)
	}
	keys["made anew"] = key("a", "x", args)
	seen := map[string]string{}
	for name, k := range keys {
		if seen[k] != "" {
			t.Errorf("%s and %s have one key", name, seen[k])
		}
		seen[k] = name
	}
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/run/gitaly-1/gitaly-hooks": "/run/gitaly-1/gitaly-hooks", "/a b/$(x)/gitaly-hooks": "'/a b/$(x)/gitaly-hooks'", "/it's/x": `'/it'\''s/x'`,
	} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
