// Package e2e_test runs journeys against all real binaries: real git, ssh and curl
// on the client's side, `gitsplit up` with its own PostgreSQL and Redis on the other.
package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// shared is the instance that all journeys use at once; tests that break things
// start their own.
var shared *stack.Stack

// bin holds the programs, built once.
var bin string

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); name == user.AskpassName {
		os.Exit(user.Askpass())
	}
	os.Exit(run(m))
}

func run(m *testing.M) (code int) {
	for _, tool := range []string{"git", "ssh", "ssh-keygen", "git-lfs", "curl", "psql", "redis-server"} {
		if _, err := exec.LookPath(tool); err != nil {
			return missing(tool)
		}
	}
	dir, err := os.MkdirTemp("", "gse2e") // short: sockets live below it
	if err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)                      //nolint:errcheck // best effort
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL's user must get through to its data
		return fail(err)
	}
	ctx := context.Background()
	bin = filepath.Join(dir, "bin")
	if err := stack.Build(ctx, "..", bin); err != nil {
		return fail(err)
	}
	if shared, err = stack.Start(ctx, bin, filepath.Join(dir, "home")); err != nil {
		return fail(err)
	}
	code = m.Run()
	if err := finalChecks(ctx); err != nil {
		code = fail(err)
	}
	if err := shared.Stop(); err != nil {
		code = fail(fmt.Errorf("stop: %w", err))
	}
	if code != 0 {
		keepLogs()
	}
	return code
}

// finalChecks looks at what the whole suite left on the server.
func finalChecks(ctx context.Context) error {
	repos, err := shared.Repositories()
	if err != nil {
		return err
	}
	for _, repo := range repos {
		cmd := exec.CommandContext(ctx, "git", "--git-dir", repo, "fsck", "--strict", "--full") //nolint:gosec // our own path
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git fsck --strict of %s: %w\n%s", repo, err, out)
		}
	}
	fmt.Printf("git fsck --strict: %d repositories clean\n", len(repos))
	return nil
}

func missing(tool string) int {
	if os.Getenv("CI") != "" {
		return fail(fmt.Errorf("%s is missing: run scripts/install-deps test", tool))
	}
	fmt.Printf("SKIP: %s is not installed; scripts/install-deps test names what to install\n", tool)
	return 0
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "e2e:", err)
	return 1
}

// keepLogs copies the services' logs to where E2E_LOGS says.
func keepLogs() {
	dst := os.Getenv("E2E_LOGS")
	if dst == "" {
		return
	}
	if err := os.CopyFS(dst, os.DirFS(filepath.Join(shared.Home, "log"))); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: keep logs:", err)
	}
}
