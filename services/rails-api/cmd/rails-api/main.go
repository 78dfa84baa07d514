// Command rails-api is one of the two programs of this module; see package app.
package main

import (
	"context"
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
	redis.SetLogger(logging.Redis(os.Stderr, "rails-api"))
	os.Exit(app.Process(ctx, os.Args[1:], os.LookupEnv, app.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
