package pool_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/pool"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// keeper is a housekeeping that can be busy.
type keeper struct{ busy bool }

func (k keeper) Hold(*storage.Repo) (func(), error) {
	if k.busy {
		return nil, errs.New(errs.Exists, "busy")
	}
	return func() {}, nil
}
func (keeper) Optimize(context.Context, *storage.Repo, housekeeping.Strategy) error { return nil }

// pusher is called while a member stands alone for a trial, in the place of pushes
// that began before.
type pusher func() error

func (p pusher) Outlive(context.Context, string) error { return p() }

// bundle is a pool with a member that has nothing of its own but a branch.
type bundle struct {
	options pool.Options
	member  *storage.Repo
	commits []string // in the pool only
}

func setup(t *testing.T) *bundle {
	t.Helper()
	dir := t.TempDir()
	st, err := storage.Open("default", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	git, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir(), PackThreads: 1})
	if err != nil {
		t.Fatal(err)
	}
	repo := func(rel string) *storage.Repo {
		return &storage.Repo{Repo: gitcmd.Repo{Dir: filepath.Join(dir, rel)}, Storage: st, RelativePath: rel}
	}
	b := &bundle{member: repo("member.git"), options: pool.Options{
		Git: git, Remotes: remote.New(git), Keeper: keeper{}, Log: slog.New(slog.DiscardHandler)}}
	run(t, dir, "init", "-q", "--bare", "-b", "main", "source.git")
	tree := run(t, repo("source.git").Dir, "mktree")
	for _, text := range []string{"one", "two"} {
		commit := run(t, repo("source.git").Dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-m", text, tree)
		run(t, repo("source.git").Dir, "update-ref", "refs/heads/"+text, commit)
		b.commits = append(b.commits, commit)
	}
	place := repo("@pools/ab/cd/abcd" + strings.Repeat("0", 60) + ".git")
	s := pool.New(b.options)
	if err := s.Create(t.Context(), place, repo("source.git")); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "init", "-q", "--bare", "-b", "main", "member.git")
	if err := s.Link(b.member, place); err != nil {
		t.Fatal(err)
	}
	run(t, b.member.Dir, "update-ref", "refs/heads/main", b.commits[0])
	return b
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// alternates says which of the two files are there.
func (b *bundle) alternates() (present, suspended bool) {
	_, err := os.Stat(filepath.Join(b.member.Dir, "objects/info/alternates"))
	_, other := os.Stat(filepath.Join(b.member.Dir, storage.SuspendedFile))
	return err == nil, other == nil
}

// TestService_Disconnect_race: a push that began earlier needs the pool.
func TestService_Disconnect_race(t *testing.T) {
	t.Parallel()
	b := setup(t)
	trials := 0
	b.options.Writers = pusher(func() error {
		if trials++; trials > 1 {
			return nil
		}
		return os.WriteFile(filepath.Join(b.member.Dir, "refs/heads/late"), []byte(b.commits[1]+"\n"), 0o600)
	})
	if err := pool.New(b.options).Disconnect(t.Context(), b.member); err != nil || trials != 2 {
		t.Errorf("%d trials, %v", trials, err)
	}
	if present, suspended := b.alternates(); present || suspended {
		t.Errorf("alternates are there: %v, suspended: %v", present, suspended)
	}
	run(t, b.member.Dir, "fsck", "--strict")
}

// TestService_Disconnect_resumed: somebody puts the alternates back during each
// trial, as the sweeper does when a writer was killed.
func TestService_Disconnect_resumed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.options.Writers = pusher(func() error { return b.member.Resume() })
	if err := pool.New(b.options).Disconnect(t.Context(), b.member); errs.KindOf(err) != errs.Conflict {
		t.Errorf("err = %v", err)
	}
	if present, suspended := b.alternates(); !present || suspended {
		t.Errorf("alternates are there: %v, suspended: %v", present, suspended)
	}
	run(t, b.member.Dir, "fsck", "--strict")
}

// TestService_Disconnect_afterCrash: one that died in the middle is not taken for one
// that came to its end.
func TestService_Disconnect_afterCrash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.options.Writers = pusher(func() error { return nil })
	if err := b.member.Suspend(); err != nil {
		t.Fatal(err)
	}
	if err := pool.New(b.options).Disconnect(t.Context(), b.member); err != nil {
		t.Error(err)
	}
	if present, suspended := b.alternates(); present || suspended {
		t.Errorf("alternates are there: %v, suspended: %v", present, suspended)
	}
	run(t, b.member.Dir, "fsck", "--strict")
}

func TestService_Disconnect_fails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	gone := errors.New("the caller left")
	b.options.Writers = pusher(func() error { return gone })
	if err := pool.New(b.options).Disconnect(t.Context(), b.member); !errors.Is(err, gone) {
		t.Errorf("err = %v", err)
	}
	b.options.Keeper = keeper{busy: true}
	if err := pool.New(b.options).Disconnect(t.Context(), b.member); errs.KindOf(err) != errs.Conflict {
		t.Errorf("while housekeeping is at work: %v", err)
	}
	if present, suspended := b.alternates(); !present || suspended {
		t.Errorf("alternates are there: %v, suspended: %v", present, suspended)
	}
	run(t, b.member.Dir, "fsck", "--strict")
}
