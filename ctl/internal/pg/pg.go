// Package pg owns the private PostgreSQL of one home: finding the programs,
// making the cluster once, the arguments of the server, and telling when it is
// ready. The server listens on a Unix socket only, in a directory that only its
// user may enter, and asks the kernel who is at the other end (peer
// authentication), so there is no password to keep.
//
// PostgreSQL refuses to run as root. When gitsplit is root, the server runs as
// the system user postgres, and its files lie where that user can reach them.
package pg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Database is the name of the one database.
const Database = "gitsplit"

// Cluster is one PostgreSQL installation on disk. Make it with Open.
type Cluster struct {
	// Dir holds the cluster; it belongs to the user of the server.
	Dir string
	// Sockets is the directory of the server's socket.
	Sockets string
	// User is who the server runs as; nil means the same user as gitsplit.
	User *syscall.Credential
	// Role is the database role that services connect as: the name of the
	// operating system user they run as.
	Role string
	// Bin is the directory of the programs.
	Bin string
}

// Data is the data directory (PGDATA).
func (c Cluster) Data() string { return filepath.Join(c.Dir, "cluster") }

// Program is the path of the server.
func (c Cluster) Program() string { return filepath.Join(c.Bin, "postgres") }

// Args are the server's arguments. They carry the whole configuration, so that
// nothing has to be written into the directory of another user, and a change in a
// newer gitsplit holds for old clusters. Durability is never traded
// (security-baseline.md D4); memory is kept small for one host.
func (c Cluster) Args() []string {
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + c.Sockets,
		"unix_socket_permissions=0700",
		"cluster_name=gitsplit",
		"fsync=on",
		"synchronous_commit=on",
		"full_page_writes=on",
		"max_connections=60",
		"shared_buffers=32MB",
		"work_mem=4MB",
		"maintenance_work_mem=32MB",
		"max_wal_size=256MB",
		"huge_pages=off",
		"jit=off",
		"max_parallel_workers=0",
		"idle_in_transaction_session_timeout=60s",
		"logging_collector=off",
		"log_destination=stderr",
		"log_line_prefix=%m [%p] ",
		"lc_messages=C",
		"timezone=UTC",
		"log_timezone=UTC",
	}
	args := []string{"-D", c.Data()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	return args
}

// URL is what a service connects with.
func (c Cluster) URL() string {
	return "postgres:///" + Database + "?host=" + c.Sockets + "&user=" + c.Role
}

// Ready reports whether the server with this pid accepts connections, as pg_ctl
// does: the server itself writes "ready" into the eighth line of its pid file.
func (c Cluster) Ready(_ context.Context, pid int) error {
	text, err := os.ReadFile(c.pidFile())
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 8 || lines[0] != strconv.Itoa(pid) || strings.TrimSpace(lines[7]) != "ready" {
		return errors.New("does not accept connections yet")
	}
	return nil
}

func (c Cluster) pidFile() string { return filepath.Join(c.Data(), "postmaster.pid") }

// command makes a command that runs as the server's user, with an environment of
// its own and in a directory that this user can enter.
func (c Cluster) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, program), args...) //nolint:gosec // a PostgreSQL program, no shell
	cmd.Env = []string{"PATH=" + c.Bin + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.User}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// run runs a program of PostgreSQL to its end. The error carries what it said.
func (c Cluster) run(ctx context.Context, stdin, program string, args ...string) error {
	runtime.LockOSThread() // its end would be taken for ours and end the program
	defer runtime.UnlockOSThread()
	cmd := c.command(ctx, program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, lastLines(out))
	}
	return nil
}

// lastLines returns at most the last 500 bytes of a program's output on one line.
func lastLines(out []byte) string {
	if len(out) > 500 {
		out = out[len(out)-500:]
	}
	return strings.Join(strings.FieldsFunc(string(out), func(r rune) bool { return r == '\n' }), "; ")
}
