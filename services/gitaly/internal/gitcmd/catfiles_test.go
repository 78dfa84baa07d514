package gitcmd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gitsplit/services/gitaly/internal/process"
)

// counts is an observer of the pool and of processes.
type counts struct {
	mu                  sync.Mutex
	hits, misses, begun int
	running             int
	ended               chan struct{} // one value for each process that ended
}

func (c *counts) CatFileLookup(hit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hit {
		c.hits++
	} else {
		c.misses++
	}
}

func (c *counts) CatFileStarted() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun++
}

func (c *counts) Started(_ context.Context, name string, _ time.Duration) func(process.Usage) {
	if name != "cat-file" {
		return func(process.Usage) {}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running++
	return func(process.Usage) {
		c.mu.Lock()
		c.running--
		c.mu.Unlock()
		c.ended <- struct{}{}
	}
}

func (c *counts) want(t *testing.T, hits, misses, begun, running int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hits != hits || c.misses != misses || c.begun != begun || c.running != running {
		t.Errorf("hits %d, misses %d, started %d, running %d; want %d, %d, %d, %d", c.hits, c.misses, c.begun, c.running, hits, misses, begun, running)
	}
}

// pooled returns a factory with a pool, and a repository with a commit.
func pooled(t *testing.T, o CatFilesOptions) (*Factory, *Repo, *counts) {
	t.Helper()
	seen := &counts{ended: make(chan struct{}, 1000)}
	o.Observer = seen
	if o.Max == 0 {
		o.Max = 10
	}
	if o.PerRepo == 0 {
		o.PerRepo = 10
	}
	if o.Idle == 0 {
		o.Idle = time.Hour
	}
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	pool := NewCatFiles(o)
	f, err := New(t.Context(), Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir(), PackThreads: 1, Observer: seen, CatFiles: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pool.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if seen.running != 0 {
			t.Errorf("%d processes after the pool was closed", seen.running)
		}
	})
	return f, newRepo(t, f), seen
}

func newRepo(t *testing.T, f *Factory) *Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "r.git")
	err := f.Run(t.Context(), nil, Spec{Name: "init", Flags: []string{"--bare", "--quiet"}, Args: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return &Repo{Dir: dir}
}

// git runs git beside the pool, as another process would.
func git(t *testing.T, repo *Repo, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", repo.Dir}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@x", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@x")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func borrow(t *testing.T, f *Factory, repo *Repo) *CatFile {
	t.Helper()
	c, err := f.CatFile(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func giveBack(t *testing.T, c *CatFile, clean bool) {
	t.Helper()
	if err := c.Release(clean); err != nil {
		t.Errorf("release: %v", err)
	}
}

// ask borrows, asks for the facts of one object, and gives back.
func ask(t *testing.T, f *Factory, repo *Repo, name string) string {
	t.Helper()
	c := borrow(t, f, repo)
	defer giveBack(t, c, true)
	if _, err := c.In.Write([]byte("info " + name + "\n")); err != nil {
		t.Fatal(err)
	}
	line, err := c.Out.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// TestCatFiles_fresh: a process that was there before sees everything that happened
// since: loose and packed objects, moved, packed and deleted references.
func TestCatFiles_fresh(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{})
	if got := ask(t, f, repo, "refs/heads/main"); got != "refs/heads/main missing" {
		t.Fatalf("in an empty repository: %q", got)
	}
	tree := git(t, repo, "", "hash-object", "-t", "tree", "-w", "--stdin")
	first := git(t, repo, "", "commit-tree", "-m", "1", tree)
	second := git(t, repo, "", "commit-tree", "-m", "2", tree)
	for _, step := range []struct {
		do   []string
		want string
	}{
		{[]string{"update-ref", "refs/heads/main", first}, first + " commit"},
		{[]string{"update-ref", "refs/heads/main", second}, second + " commit"},
		{[]string{"pack-refs", "--all", "--prune"}, second + " commit"},
		{[]string{"update-ref", "refs/heads/main", first}, first + " commit"},
		{[]string{"pack-refs", "--all", "--prune"}, first + " commit"},
		{[]string{"update-ref", "-d", "refs/heads/main"}, "refs/heads/main missing"},
		{[]string{"update-ref", "refs/heads/main", second}, second + " commit"},
		{[]string{"repack", "-a", "-d", "-q"}, second + " commit"},
	} {
		git(t, repo, "", step.do...)
		if got := ask(t, f, repo, "refs/heads/main"); !strings.HasPrefix(got, step.want) {
			t.Errorf("after git %q: %q, want %q", step.do, got, step.want)
		}
	}
	other := newRepo(t, f)
	blob := git(t, other, "packed elsewhere", "hash-object", "-w", "--stdin")
	if got := ask(t, f, repo, blob); got != blob+" missing" {
		t.Errorf("an object of another repository: %q", got)
	}
	git(t, other, blob+"\n", "pack-objects", "-q", repo.Dir+"/objects/pack/pack")
	if got := ask(t, f, repo, blob); got != blob+" blob 16" {
		t.Errorf("after a new pack: %q", got)
	}
	seen.want(t, 10, 1, 1, 1)
}

func TestCatFiles_keeps(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{Max: 2, PerRepo: 1})
	a, b := borrow(t, f, repo), borrow(t, f, repo)
	giveBack(t, a, true)
	giveBack(t, b, true) // one too many for the repository
	seen.want(t, 0, 2, 2, 1)
	for range 2 {
		ask(t, f, newRepo(t, f), "HEAD") // the second one is too many in all
	}
	seen.want(t, 0, 4, 4, 2)
	c := borrow(t, f, repo) // the longest idle had to go
	seen.want(t, 0, 5, 5, 3)
	giveBack(t, c, false)
	seen.want(t, 0, 5, 5, 2)
}

func TestCatFiles_expires(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{Idle: time.Millisecond})
	ask(t, f, repo, "HEAD")
	<-seen.ended
	f, repo, seen = pooled(t, CatFilesOptions{MaxAge: time.Nanosecond})
	ask(t, f, repo, "HEAD")
	seen.want(t, 0, 1, 1, 0)
	ask(t, f, repo, "HEAD")
	seen.want(t, 0, 2, 2, 0)
}

// TestCatFiles_distrusts: what is not known to be at the start of a question, or not
// to be about the same repository, is not used again.
func TestCatFiles_distrusts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		use  func(t *testing.T, f *Factory, repo *Repo, c *CatFile)
	}{
		{"answer not read", func(t *testing.T, _ *Factory, _ *Repo, c *CatFile) {
			if _, err := c.In.Write([]byte("info HEAD\n")); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Out.ReadByte(); err != nil {
				t.Fatal(err)
			}
			giveBack(t, c, true)
		}},
		{"said not to be clean", func(t *testing.T, _ *Factory, _ *Repo, c *CatFile) { giveBack(t, c, false) }},
		{"killed while idle", func(t *testing.T, _ *Factory, _ *Repo, c *CatFile) {
			giveBack(t, c, true)
			p, err := os.FindProcess(c.proc.proc.Pid())
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Out.ReadByte(); err == nil { // the end of its output is the end of it
				t.Fatal("a killed process answers")
			}
			for !c.proc.proc.Exited() { //nolint:revive // at once
			}
		}},
		{"replaced while idle", func(t *testing.T, f *Factory, repo *Repo, c *CatFile) {
			giveBack(t, c, true)
			replace(t, f, repo)
		}},
		{"replaced while in use", func(t *testing.T, f *Factory, repo *Repo, c *CatFile) {
			replace(t, f, repo)
			giveBack(t, c, true)
		}},
		{"other alternates", func(t *testing.T, f *Factory, repo *Repo, c *CatFile) {
			giveBack(t, c, true)
			other := newRepo(t, f)
			if err := os.WriteFile(repo.Dir+"/objects/info/alternates", []byte(other.Dir+"/objects\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"forgotten", func(t *testing.T, f *Factory, repo *Repo, c *CatFile) {
			giveBack(t, c, true)
			f.ForgetRepo(filepath.Dir(repo.Dir))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, repo, seen := pooled(t, CatFilesOptions{})
			tc.use(t, f, repo, borrow(t, f, repo))
			ask(t, f, repo, "HEAD")
			seen.want(t, 0, 2, 2, 1)
		})
	}
}

func replace(t *testing.T, f *Factory, repo *Repo) {
	t.Helper()
	if err := os.RemoveAll(repo.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(newRepo(t, f).Dir, repo.Dir); err != nil {
		t.Fatal(err)
	}
}

func TestCatFiles_cancelled(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	c, err := f.CatFile(ctx, repo)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := c.Out.ReadByte(); err == nil { // nothing was asked: only the end comes
		t.Error("an answer to no question")
	}
	giveBack(t, c, true)
	seen.want(t, 0, 1, 1, 0)
	if _, err := f.CatFile(ctx, repo); err == nil {
		t.Error("lent for a request that has ended")
	}
	ask(t, f, repo, "HEAD")
	ctx, cancel = context.WithCancel(t.Context())
	if c, err = f.CatFile(ctx, repo); err != nil {
		t.Fatal(err)
	}
	giveBack(t, c, true)
	cancel() // after the process was given back
	ask(t, f, repo, "HEAD")
	seen.want(t, 2, 2, 2, 1)
}

func TestCatFiles_quarantine(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{})
	objects := repo.Dir + "/objects"
	quarantine := &Repo{Dir: repo.Dir, ObjectDir: t.TempDir(), Alternates: []string{objects}}
	blob := git(t, repo, "x", "hash-object", "-w", "--stdin")
	if got := ask(t, f, quarantine, blob); got != blob+" blob 1" {
		t.Errorf("through the alternates: %q", got)
	}
	seen.want(t, 0, 0, 1, 0)
}

func TestCatFiles_closed(t *testing.T) {
	t.Parallel()
	f, repo, seen := pooled(t, CatFilesOptions{})
	c := borrow(t, f, repo)
	ask(t, f, repo, "HEAD")
	if err := f.o.CatFiles.Close(); err != nil {
		t.Fatal(err)
	}
	giveBack(t, c, true)
	seen.want(t, 0, 2, 2, 0)
	if _, err := f.CatFile(t.Context(), repo); err == nil {
		t.Error("lent by a closed pool")
	}
	if _, err := f.CatFile(t.Context(), &Repo{Dir: "/nonexistent"}); err == nil {
		t.Error("lent for no repository")
	}
}
