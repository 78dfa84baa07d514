package app_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// hooksDir holds the real gitaly-hooks and gitaly-linguist for all tests.
var hooksDir string

// TestMain builds both, and checks at the end that nothing is left of what
// was started. As GIT_SSH_COMMAND the test binary is the bridge between git and
// gitaly.
func TestMain(m *testing.M) {
	if os.Getenv(bridgeKey) != "" {
		os.Exit(bridge())
	}
	if os.Getenv(serveKey) != "" {
		os.Exit(serve())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gt")
	if err != nil {
		return fail(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	hooksDir = dir
	for name, module := range map[string]string{"gitaly-hooks": "../../../hooks", "gitaly-linguist": "../.."} {
		build := exec.CommandContext(context.Background(), "go", "build", "-o", filepath.Join(dir, name), "./cmd/"+name)
		build.Dir = module
		if out, err := build.CombinedOutput(); err != nil {
			return fail(fmt.Errorf("build %s: %w\n%s", name, err, out))
		}
	}
	before := runtime.NumGoroutine()
	code := m.Run()
	if err := left(before); err != nil && code == 0 {
		return fail(err)
	}
	return code
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// left waits a moment for goroutines and children to end and names those that do not.
func left(before int) error {
	for range 1500 {
		if runtime.NumGoroutine() <= before && len(children()) == 0 {
			return nil
		}
		<-time.After(20 * time.Millisecond)
	}
	if c := children(); len(c) > 0 {
		return fmt.Errorf("children left: %q", c)
	}
	_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	return fmt.Errorf("%d goroutines left, %d at the start", runtime.NumGoroutine(), before)
}

// children lists the living processes of which this one is the parent.
func children() []string {
	var found []string
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		if len(fields) > 1 && fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, string(raw))
		}
	}
	return found
}
