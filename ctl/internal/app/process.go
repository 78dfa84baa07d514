package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"gitsplit/ctl/internal/logs"
)

// Process runs the command line of this process and returns its exit code.
func Process() int {
	syscall.Umask(0o077) // whatever is made from here on is private
	program, err := os.Executable()
	if err == nil {
		program, err = filepath.EvalSymlinks(program)
	}
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "gitsplit: where am I: %v\n", err)
		return 1
	}
	return Main(context.Background(), os.Args[1:], System{
		LookupEnv: os.LookupEnv,
		Environ:   os.Environ(),
		Stdin:     os.Stdin,
		Stdout:    os.Stdout,
		Stderr:    os.Stderr,
		Exec:      syscall.Exec,
		Colour:    logs.IsTerminal(os.Stderr, os.LookupEnv),
		Bin:       filepath.Dir(program),
		Signals:   catch,
	})
}

// catch begins to catch the signals that ask to stop. A terminal that is gone
// asks too (SIGHUP); writing to it must not end us before the services (SIGPIPE).
func catch() <-chan os.Signal {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return signals
}
