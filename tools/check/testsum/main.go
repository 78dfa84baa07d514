// Command testsum runs `go test -json` with the arguments it is given, prints
// one line per package and the output of what failed, and ends with the last
// lines of each failure once more and a line of the form
// "12 passed, 0 failed, 1 skipped". It fails when a test failed and,
// where the environment says CI=true, also when one was skipped.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends us at once
	ok, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr, os.Getenv("CI") == "true")
	if err != nil {
		fmt.Fprintf(os.Stderr, "testsum: %v\n", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer, strict bool) (ok bool, err error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = stderr
	// Interrupted, go test still ends its packages and what ran so far is counted.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	out, err := cmd.StdoutPipe()
	if err != nil {
		return false, fmt.Errorf("open pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start go test: %w", err)
	}
	c := newCounter(stdout)
	readErr := c.read(out)
	waitErr := cmd.Wait()
	if waitErr != nil && c.failed == 0 {
		c.fail("go test: " + waitErr.Error()) // broke before it could name a package
	}
	c.summary()
	return c.failed == 0 && (c.skipped == 0 || !strict), readErr
}
