package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"gitsplit/kit/durable"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// worktreeAge is when a checkout that an operation made is abandoned.
const worktreeAge = 6 * time.Hour

// run is one pass over one repository.
type run struct {
	o        Options
	repo     *storage.Repo
	git      *gitcmd.Repo // without a quarantine
	strategy Strategy
	now      time.Time // when it began: what comes later is not judged by it
	packDir  *os.Root
	info     storage.Info
	plan     plan
	outcome  map[string]string // by task
}

// all goes through the stages in their order. One that fails does not keep the others
// from their work; the end of ctx does.
func (r *run) all(ctx context.Context) (err error) {
	if err := r.openPackDir(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.packDir.Close()) }()
	if r.o.Marks.Marked(r.repo) {
		if err := r.stage(ctx, "check", r.check); err != nil {
			return err // nothing is packed anew, and so lost, that may be the better copy
		}
	}
	var faults []error
	if r.strategy != References {
		faults = append(faults, r.stage(ctx, "clean-stale-data", r.cleanStaleData), r.stage(ctx, "clean-worktrees", r.cleanWorktrees))
	}
	if r.info, err = r.repo.Inspect(ctx); err != nil {
		return errors.Join(append(faults, err)...)
	}
	r.plan = facts{Info: r.info, pool: r.repo.IsPool(), now: r.now, git: r.o.Git.Version()}.plan(r.strategy)
	for _, s := range []struct {
		name string
		due  bool
		do   func(context.Context) error
	}{
		{"repack", r.plan.repack != noRepack, r.repack},
		{"prune", r.plan.prune, r.prune},
		{"pack-refs", r.plan.packRefs, r.packRefs},
		{"commit-graph", r.plan.graph != noGraph, r.writeGraph},
	} {
		if s.due {
			faults = append(faults, r.stage(ctx, s.name, s.do))
		}
	}
	return errors.Join(faults...)
}

// openPackDir opens the directory of packs before anything is known of it. It is made
// where it is missing: copies of repositories lose empty directories.
func (r *run) openPackDir() (err error) {
	dir := filepath.Join(r.repo.Dir, "objects/pack")
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	r.packDir, err = os.OpenRoot(dir)
	return err
}

func (r *run) stage(ctx context.Context, name string, do func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	began := time.Now()
	err := do(ctx)
	r.o.Observer.HousekeepingStage(name, time.Since(began))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// task notes how a task went.
func (r *run) task(name string, err error) error {
	r.outcome[name] = "success"
	if err != nil {
		r.outcome[name] = "failure"
	}
	r.o.Observer.HousekeepingTask(name, err)
	return err
}

// check lets git look at everything in a repository in which a sync has failed, and
// takes the mark off if it is well.
func (r *run) check(ctx context.Context) error {
	err := r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "fsck", Flags: []string{"--no-progress", "--no-dangling"}, Background: true})
	if err == nil {
		err = r.o.Marks.Clear(r.repo)
	}
	return r.task("fsck", err)
}

func (r *run) cleanStaleData(ctx context.Context) error {
	removed, err := r.o.Sweeper.RemoveStale(r.repo.Dir)
	if len(removed) > 0 {
		r.o.Log.InfoContext(ctx, "stale files removed", slog.String("repository", r.repo.RelativePath), slog.Any("files", removed))
	}
	return err
}

// cleanWorktrees removes checkouts that nobody uses any more. We make none, but
// repositories come from elsewhere.
func (r *run) cleanWorktrees(ctx context.Context) error {
	const checkouts, known = "gitlab-worktree", "worktrees"
	entries, _ := os.ReadDir(filepath.Join(r.repo.Dir, checkouts)) // most have none
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || r.now.Sub(info.ModTime()) < worktreeAge {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.repo.Dir, checkouts, e.Name())); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(r.repo.Dir, known)); err != nil {
		return nil //nolint:nilerr // most have none
	}
	return r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "worktree prune"})
}

// prune removes loose objects. After a repack only those are left that are younger
// than it; this is for what git could not pack.
func (r *run) prune(ctx context.Context) error {
	return r.task("pruned_objects", r.background(ctx, "prune", "--expire="+r.expiry()))
}

// packRefs writes loose references into one file. They go only in a second step,
// when the file of the first is on disk: a reference is in two directories then, and
// nothing says which of their changes a crash keeps.
func (r *run) packRefs(ctx context.Context) error {
	flags := []string{"--all"}
	if r.info.Reftables != nil {
		return r.task("packed_refs", r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "pack-refs", Flags: append(flags, "--auto")}))
	}
	err := r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "pack-refs", Flags: append(flags, "--no-prune")})
	if err == nil {
		err = durable.SyncDir(r.repo.Dir)
	}
	if err == nil {
		err = r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "pack-refs", Flags: flags})
	}
	return r.task("packed_refs", err)
}

func (r *run) writeGraph(ctx context.Context) error {
	name, split := "written_commit_graph_incremental", "--split"
	if r.plan.graph == replaceGraph {
		name, split = "written_commit_graph_full", "--split=replace"
	}
	return r.task(name, r.background(ctx, "commit-graph write", "--reachable", "--changed-paths", "--size-multiple=4", split, "--no-progress"))
}

// background runs git at low priority. What holds locks that pushes wait for does not
// use it.
func (r *run) background(ctx context.Context, name string, flags ...string) error {
	return r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: name, Flags: flags, Background: true})
}
