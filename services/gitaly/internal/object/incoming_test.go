package object

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// counted counts the gits that are started.
type counted struct {
	*gitcmd.Factory
	started atomic.Int32
}

func (c *counted) Reader(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Reader, error) {
	c.started.Add(1)
	return c.Factory.Reader(ctx, repo, s)
}

func TestIncoming(t *testing.T) {
	t.Parallel()
	factory, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	git := &counted{Factory: factory}
	dir := filepath.Join(t.TempDir(), "r.git")
	output := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", dir, "-c", "user.name=a", "-c", "user.email=a@example.com"}, args...)...)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	if err := exec.CommandContext(t.Context(), "git", "init", "--bare", "--quiet", dir).Run(); err != nil {
		t.Fatal(err)
	}
	importHistory(t, dir)
	old := output("rev-parse", "main")
	first := output("commit-tree", "-p", old, "-m", "first", "main^{tree}")
	side := output("commit-tree", "-p", old, "-m", "parent "+strings.Repeat("1", 40), "main^{tree}")
	last := output("commit-tree", "-p", side, "-p", first, "-m", "last", "main^{tree}")

	quarantine := filepath.Join(dir, "objects", "tmp_objdir-incoming-x")
	if err := os.MkdirAll(filepath.Join(quarantine, "pack"), 0o700); err != nil {
		t.Fatal(err)
	}
	pack := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "pack-objects", "--quiet", filepath.Join(quarantine, "pack", "pack"))
	pack.Stdin = strings.NewReader(strings.Join([]string{first, side, last, output("rev-parse", "main:a"), output("rev-parse", "main:d")}, "\n") + "\n")
	if err := pack.Run(); err != nil {
		t.Fatal(err)
	}
	repo := &gitcmd.Repo{Dir: dir, ObjectDir: quarantine, Alternates: []string{filepath.Join(dir, "objects")}}
	var c Incoming
	n := c.News(t.Context(), git, repo)
	if again := c.News(t.Context(), git, repo); n == nil || again != n || git.started.Load() != 1 {
		t.Fatalf("%v, then %v, with %d gits", n, again, git.started.Load())
	}
	atOnce(t, git, repo)
	if len(n.Parents) != 3 || len(n.Small) != 1 || string(n.Small[0].Data) != "hello" || n.Small[0].OID != output("rev-parse", "main:a") {
		t.Errorf("news %+v", n)
	}
	for _, tc := range []struct {
		ancestor, child string
		want            bool
	}{
		{old, last, true}, {first, last, true}, {last, last, true}, {old, first, true}, {last, first, false}, {first, side, false},
		{strings.Repeat("1", 40), last, false}, {old, old, false}, {"main", "main", false},
	} {
		if got := n.Reaches(tc.ancestor, tc.child); got != tc.want {
			t.Errorf("Reaches(%s, %s) = %v", tc.ancestor, tc.child, got)
		}
	}
	if n := c.News(t.Context(), git, &gitcmd.Repo{Dir: dir}); n != nil {
		t.Errorf("of a repository: %+v", n)
	}
	if err := os.Mkdir(filepath.Join(quarantine, "17"), 0o700); err != nil { // more objects beside the pack
		t.Fatal(err)
	}
	if n := c.News(t.Context(), git, repo); n != nil {
		t.Errorf("beside other objects: %+v", n)
	}
}

// atOnce asks from several sides while nobody knows the answer, and once more with no
// time to wait for it.
func atOnce(t *testing.T, git *counted, repo *gitcmd.Repo) {
	t.Helper()
	var c Incoming
	var all sync.WaitGroup
	before, answers := git.started.Load(), make([]*News, 8)
	for i := range answers {
		all.Go(func() { answers[i] = c.News(t.Context(), git, repo) })
	}
	all.Wait()
	for _, n := range answers {
		if n == nil || n != answers[0] {
			t.Errorf("at once: %v", answers)
		}
	}
	if got := git.started.Load() - before; got != 1 {
		t.Errorf("at once: %d gits", got)
	}
	r, _ := c.reading(filepath.Join(repo.ObjectDir, "other.pack")) // never done
	gone, leave := context.WithCancel(t.Context())
	leave()
	c.news[onlyPack(repo.ObjectDir)] = r
	if n := c.News(gone, git, repo); n != nil {
		t.Errorf("without time: %v", n)
	}
}

// TestIncoming_large: what is small by its pack alone is left to who reads it piece by
// piece.
func TestIncoming_large(t *testing.T) {
	t.Parallel()
	git, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	quarantine := filepath.Join(dir, "objects", "tmp_objdir-incoming-x")
	err = errors.Join(exec.CommandContext(t.Context(), "git", "init", "--bare", "--quiet", dir).Run(), os.MkdirAll(filepath.Join(quarantine, "pack"), 0o700),
		os.WriteFile(filepath.Join(dir, "zeros"), make([]byte, smallContent+1), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	oid, err := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "hash-object", "-w", filepath.Join(dir, "zeros")).Output()
	if err != nil {
		t.Fatal(err)
	}
	pack := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "pack-objects", "--quiet", filepath.Join(quarantine, "pack", "pack"))
	pack.Stdin = strings.NewReader(string(oid))
	if err := pack.Run(); err != nil {
		t.Fatal(err)
	}
	repo := &gitcmd.Repo{Dir: dir, ObjectDir: quarantine}
	if onlyPack(quarantine) == "" {
		t.Fatal("the pack is not small")
	}
	if n, err := readNews(t.Context(), git, repo); !errors.Is(err, errNotSmall) {
		t.Errorf("%+v, %v", n, err)
	}
}
