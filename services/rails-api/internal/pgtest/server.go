package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"gitsplit/services/rails-api/internal/postgres"
)

// server is one running PostgreSQL on a Unix socket in its own directory.
type server struct {
	dir string
	cmd *exec.Cmd
}

const startTimeout = 30 * time.Second

func newServer(bin string) (*server, error) {
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	if err := s.run(bin); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) run(bin string) error {
	attr, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(context.Background(), filepath.Join(bin, "initdb"), //nolint:gosec // a found binary
		"--pgdata="+data, "--auth=trust", "--username=postgres", "--no-locale", "--encoding=UTF8", "--no-sync")
	initdb.SysProcAttr = attr
	initdb.Dir = s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	s.cmd = exec.CommandContext(context.Background(), filepath.Join(bin, "postgres"), "-D", data, "-k", s.dir, //nolint:gosec // as above
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
		"-c", "shared_buffers=32MB", "-c", "max_connections=200")
	s.cmd.SysProcAttr = attr
	s.cmd.Dir = s.dir
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	if err := s.await(); err != nil {
		return err
	}
	return s.makeTemplate()
}

// unprivileged returns the attributes of a child that runs as user postgres when
// we are root, because PostgreSQL refuses root, and that ends with this process.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT}
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}

// await polls until the server takes a connection: PostgreSQL tells nobody when it is ready.
func (s *server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

func (s *server) makeTemplate() error {
	ctx := context.Background()
	if err := s.exec(ctx, "CREATE DATABASE "+template); err != nil {
		return err
	}
	pool, err := postgres.Open(ctx, s.url(template), postgres.Options{Name: "pgtest"})
	if err != nil {
		return err
	}
	defer pool.Close()
	return postgres.Migrate(ctx, pool)
}

func (s *server) url(db string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", db, s.dir)
}

// stop ends the server at once, loses its data, and removes its directory.
func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // gone already is as good
		_ = s.cmd.Wait()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintf(os.Stderr, "pgtest: %v\n", err)
	}
}
