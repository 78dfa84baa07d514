// Command gitlab-shell is what OpenSSH runs in place of the command that a user asks
// for: the same Git service as gitlab-sshd, one process for each session.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"gitsplit/services/shell/internal/app"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return app.Shell(ctx, app.System())
}
