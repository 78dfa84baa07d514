package object

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// fastImport is a history with names that are hard to ask for.
const fastImport = `blob
mark :1
data 5
hello
blob
mark :2
data 0

commit refs/heads/main
mark :3
committer C <c@example.com> 1700000000 +0000
data 4
one

M 100644 :1 a
M 100755 :2 "line\nbreak/x y"
M 120000 :1 link
M 160000 1111111111111111111111111111111111111111 sub
M 100644 :1 d/e/f/g
`

// repository makes one with that history.
func repository(t *testing.T, o gitcmd.Options) (*gitcmd.Factory, *gitcmd.Repo) {
	t.Helper()
	o.SearchPath, o.Home = os.Getenv("PATH"), t.TempDir()
	git, err := gitcmd.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "r.git")
	if err := git.Run(t.Context(), nil, gitcmd.Spec{Name: "init", Flags: []string{"--bare", "--quiet"}, Args: []string{dir}}); err != nil {
		t.Fatal(err)
	}
	importHistory(t, dir)
	return git, &gitcmd.Repo{Dir: dir}
}

func setup(t *testing.T) *Reader {
	t.Helper()
	git, repo := repository(t, gitcmd.Options{})
	r, err := Open(t.Context(), git, repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func TestReader(t *testing.T) {
	t.Parallel()
	r := setup(t)
	info, err := r.Info("main")
	if err != nil || info.Type != "commit" {
		t.Fatalf("Info = %v, %v", info, err)
	}
	for _, missing := range []string{"none", strings.Repeat("0", 40), "main^{blob}", "a b"} {
		if i, err := r.Info(missing); errs.KindOf(err) != errs.NotFound {
			t.Errorf("Info(%q) = %v, %v", missing, i, err)
		}
	}
	for _, bad := range []string{"", "a\nb", "a\x00"} {
		if i, err := r.Info(bad); errs.KindOf(err) != errs.Invalid {
			t.Errorf("Info(%q) = %v, %v", bad, i, err)
		}
	}
	blob, err := r.Info("main:a")
	if err != nil {
		t.Fatal(err)
	}
	_, rd, err := r.Stream(blob.OID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Info("main"); !errors.Is(err, errLost) {
		t.Errorf("a question in the middle of an answer: %v", err)
	}
	if data, err := io.ReadAll(rd); string(data) != "hello" || err != nil {
		t.Errorf("content %q, %v", data, err)
	}
	if _, err := rd.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	if _, _, err := r.Contents(blob.OID, "tree"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("a blob as a tree: %v", err)
	}
	if _, data, err := r.Contents(blob.OID, "blob"); string(data) != "hello" || err != nil {
		t.Errorf("Contents = %q, %v", data, err)
	}
}

// starts counts processes.
type starts struct{ n int }

func (*starts) CatFileLookup(bool) {}
func (s *starts) CatFileStarted()  { s.n++ }

// TestReader_kept: git can be asked again when the bytes of an object were read, and
// nothing further; but not in the middle of one.
func TestReader_kept(t *testing.T) {
	t.Parallel()
	seen := &starts{}
	pool := gitcmd.NewCatFiles(gitcmd.CatFilesOptions{Max: 1, PerRepo: 1, Idle: time.Minute, MaxAge: time.Minute, Observer: seen})
	defer pool.Close() //nolint:errcheck // test
	git, repo := repository(t, gitcmd.Options{CatFiles: pool})
	const empty = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
	for _, tc := range []struct {
		name   string
		read   int64
		starts int
	}{
		{"main:a", 5, 1}, {empty, 0, 1}, {"main:d/e/f/g", 5, 1}, {"main:a", 2, 1}, {"main:a", 5, 2}, {"main:a", 0, 2}, {"main:a", 5, 3},
	} {
		r, err := Open(t.Context(), git, repo)
		if err != nil {
			t.Fatal(err)
		}
		_, rd, err := r.Stream(tc.name)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, io.LimitReader(rd, tc.read)); n != tc.read || err != nil {
			t.Errorf("%s: read %d, %v", tc.name, n, err)
		}
		if err := r.Close(); err != nil || seen.n != tc.starts {
			t.Errorf("%d bytes of %s: %d processes, %v; want %d", tc.read, tc.name, seen.n, err, tc.starts)
		}
	}
}

func TestReader_trees(t *testing.T) {
	t.Parallel()
	r := setup(t)
	root, err := r.RootTree("main")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = r.Walk(Entry{OID: root, Mode: modeTree}, func(e Entry) error {
		got = append(got, e.Type()+" "+e.Path)
		return nil
	})
	want := []string{"blob a", "tree d", "tree d/e", "tree d/e/f", "blob d/e/f/g", "tree line\nbreak", "blob line\nbreak/x y", "blob link", "commit sub"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Walk: %v (-want +got):\n%s", err, diff)
	}
	for path, mode := range map[string]int32{"": modeTree, "a": 0o100644, "line\nbreak/x y": 0o100755, "link": 0o120000, "sub": 0o160000, "d/e": modeTree} {
		if e, err := r.Find(root, path); err != nil || e.Mode != mode || e.Path != path {
			t.Errorf("Find(%q) = %+v, %v", path, e, err)
		}
	}
	for _, path := range []string{"none", "a/x", "sub/x", "link/x", "d//e"} {
		if e, err := r.Find(root, path); errs.KindOf(err) != errs.NotFound {
			t.Errorf("Find(%q) = %+v, %v", path, e, err)
		}
	}
	d, err := r.Find(root, "d")
	if err != nil {
		t.Fatal(err)
	}
	if flat, err := r.Flat(d); flat != "d/e/f" || err != nil {
		t.Errorf("Flat = %q, %v", flat, err)
	}
}

func TestCleanPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", ".": "", "/": "", "a": "a", "a/": "a", "/a//b/./c": "a/b/c", "a/../b": "b"} {
		if got, err := CleanPath(in); got != want || err != nil {
			t.Errorf("CleanPath(%q) = %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"..", "../x", "a/../../x", "a\x00"} {
		if got, err := CleanPath(in); err == nil {
			t.Errorf("CleanPath(%q) = %q", in, got)
		}
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00aaaaaaaaaaaaaaaaaaaa"), "")
	f.Add([]byte("40000 \x00"), "d")
	f.Fuzz(func(t *testing.T, raw []byte, dir string) {
		entries, err := parseTree(raw, 20, dir)
		for _, e := range entries {
			if err == nil && (len(e.OID) != 40 || e.Path == dir) {
				t.Errorf("entry %+v", e)
			}
		}
	})
}

func importHistory(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(fastImport)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fast-import: %v\n%s", err, out)
	}
}
