package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/services"
	"gitsplit/ctl/internal/settings"
)

// restore is `gitsplit restore` for a home, which may not exist yet: it makes the
// home and its database cluster as a first start does, starts PostgreSQL and
// gitaly alone, and has rails-api restore. The lock keeps `gitsplit up` away.
func restore(ctx context.Context, sys System, set settings.Settings, h home.Home, args []string) error {
	return alone(ctx, sys, h, func(ctx context.Context, insist <-chan struct{}) (err error) {
		plan, err := prepare(ctx, sys, set, h, true)
		if err != nil {
			return err
		}
		r, err := newRunner(sys, plan, services.Postgres, services.Gitaly)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.close()) }()
		return r.restore(ctx, insist, append(args, "--next", "gitsplit up"))
	})
}

// restore keeps everything running until rails-api has restored.
func (r *runner) restore(ctx context.Context, insist <-chan struct{}, args []string) error {
	running, stop := context.WithCancel(ctx)
	defer stop()
	result := make(chan error, 1)
	err := r.run(running, insist, func() {
		go func() { result <- runRails(ctx, r.sys, r.plan.Home, args); stop() }()
	})
	select {
	case done := <-result:
		return errors.Join(done, err)
	default:
		return errors.Join(err, errors.New("stopped before anything was restored"))
	}
}

// runRails runs a command of rails-api beside us. Its exit code is told by an
// error that says no more, since it has spoken.
func runRails(ctx context.Context, sys System, h home.Home, args []string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(sys.Bin, services.RailsAPI), railsArgs(h, h.Config("rails-api.yml"), args)...) //nolint:gosec // our own program
	cmd.Env, cmd.Stdout, cmd.Stderr = operatorEnv(sys), sys.Stdout, sys.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches it through us
	input, err := cmd.StdinPipe()                         // not ours itself: in a group of its own it could not read a terminal
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		// Left behind when nobody reads: the process ends soon after.
		go func() { _, _ = io.Copy(input, sys.Stdin); _ = input.Close() }()
		err = cmd.Wait()
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit) && exit.ExitCode() == usageCode:
		return errUsage
	case errors.As(err, &exit):
		return errNotReady
	}
	return fmt.Errorf("run %s: %w", cmd.Path, err)
}

// usageCode is the exit code for a wrong command line.
const usageCode = 2
