package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gitsplit/ctl/internal/proc"
	"gitsplit/kit/durable"
)

// Init makes the cluster with its role and database unless it exists. It is made
// aside, synced, and renamed when complete, so an interrupted first start leaves
// nothing that a second one would take for a cluster.
func (c Cluster) Init(ctx context.Context) error {
	if _, err := os.Stat(c.Data()); err == nil {
		return nil
	}
	draft := filepath.Join(c.Dir, "cluster.new")
	if err := os.RemoveAll(draft); err != nil {
		return fmt.Errorf("make the database cluster: %w", err)
	}
	role := `"` + strings.ReplaceAll(c.Role, `"`, `""`) + `"`
	sql := "CREATE DATABASE " + Database + " OWNER " + role + ";\n"
	if c.User != nil || c.Role != systemUser { // initdb makes the role postgres itself
		sql = "CREATE ROLE " + role + " LOGIN;\n" + sql
	}
	steps := []func() error{
		func() error {
			return c.run(ctx, "", "initdb", "--pgdata="+draft, "--username="+systemUser, "--auth-local=peer",
				"--auth-host=reject", "--encoding=UTF8", "--no-locale", "--data-checksums", "--no-sync")
		},
		func() error {
			return c.run(ctx, sql, "postgres", "--single", "-D", draft, "-c", "fsync=off", "postgres")
		},
		func() error { return syncAll(draft) },
		func() error { return os.Rename(draft, c.Data()) },
		func() error { return durable.SyncDir(c.Dir) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("make the database cluster: %w", err)
		}
	}
	return nil
}

// syncAll makes everything below dir durable with one call for the whole file
// system. initdb would sync a thousand files one by one, which takes ten times as
// long, and up to some seconds on a busy disk.
func syncAll(dir string) error {
	f, err := os.Open(dir) //nolint:gosec // the new cluster
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// Prepare makes way for a start after a crash: it makes the socket's directory,
// ends a server that still runs on the cluster, and removes a pid file whose
// process is another program by now. Call it only while holding the home's lock.
func (c Cluster) Prepare(ctx context.Context) error {
	if err := makeDir(c.Sockets, c.User); err != nil {
		return fmt.Errorf("socket directory: %w", err)
	}
	text, err := os.ReadFile(c.pidFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("pid file: %w", err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err == nil && pid > 1 && c.serves(pid) {
		return c.end(ctx, pid)
	}
	return os.Remove(c.pidFile())
}

// serves reports whether the process is a server of this cluster: a server's
// working directory is its data directory.
func (c Cluster) serves(pid int) bool {
	dir, err := proc.WorkDir(pid)
	if err != nil {
		return false
	}
	data, err := filepath.EvalSymlinks(c.Data())
	return err == nil && dir == data
}

// end has the server stop at once; its next start recovers from the log.
func (c Cluster) end(ctx context.Context, pid int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for c.serves(pid) {
		if err := syscall.Kill(pid, syscall.SIGQUIT); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the earlier server (process %d): %w", pid, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the earlier server (process %d) does not end: %w", pid, ctx.Err())
		}
	}
	return nil
}
