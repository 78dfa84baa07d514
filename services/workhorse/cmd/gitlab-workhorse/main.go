// Command gitlab-workhorse stands in front of rails-api: rails-api decides,
// workhorse carries the bytes. See the README of this module.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/logging"
	"gitsplit/services/workhorse/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a second signal ends the process at once
	redis.SetLogger(logging.Redis(os.Stderr, "gitlab-workhorse"))
	os.Exit(app.Main(ctx, os.Args[1:], os.LookupEnv, os.Stdout, os.Stderr))
}
