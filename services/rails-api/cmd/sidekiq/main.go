// Command sidekiq is one of the two programs of this module; see package app.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a second signal ends the process at once
	redis.SetLogger(logging.Redis(os.Stderr, "sidekiq"))
	if err := app.MainSidekiq(ctx, os.Args[1:], os.LookupEnv, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "sidekiq: %v\n", err)
		os.Exit(1)
	}
}
