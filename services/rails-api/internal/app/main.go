package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"gitsplit/kit/config"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/postgres"
)

// Main runs rails-api: it serves until ctx ends. `-check-config` only reads the
// configuration, and the argument `migrate` only brings the schema up to date.
func Main(ctx context.Context, args []string, env func(string) (string, bool), stderr io.Writer) error {
	return run(ctx, "rails-api", args, env, stderr, func(ctx context.Context, b *base, command string) error {
		switch command {
		case "":
			return b.serve(ctx)
		case "migrate":
			return postgres.Migrate(ctx, b.db, b.beforeMigration)
		}
		return fmt.Errorf("unknown command %q", command)
	})
}

// MainSidekiq runs sidekiq: it does jobs until ctx ends.
func MainSidekiq(ctx context.Context, args []string, env func(string) (string, bool), stderr io.Writer) error {
	return run(ctx, "sidekiq", args, env, stderr, func(ctx context.Context, b *base, command string) error {
		if command != "" {
			return fmt.Errorf("unknown command %q", command)
		}
		return b.work(ctx)
	})
}

func run(ctx context.Context, name string, args []string, env func(string) (string, bool), stderr io.Writer,
	do func(context.Context, *base, string) error,
) (err error) {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	file := flags.String("config", "", "configuration file (YAML)")
	check := flags.Bool("check-config", false, "read the configuration, say what is wrong with it, and end")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	cfg := Default()
	if err := config.Load(&cfg, config.Options{File: *file, EnvPrefix: "RAILS_API", LookupEnv: env}); err != nil {
		return err
	}
	log, err := logging.New(stderr, logging.Options{Service: name, Level: cfg.LogLevel})
	if err != nil || *check {
		return err
	}
	b, err := open(ctx, cfg, name, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	log.InfoContext(ctx, "starting", slog.Any("config", cfg.masked()))
	return do(ctx, b, flags.Arg(0))
}

// masked returns the configuration for the log, without the passwords that URLs may hold.
func (c Config) masked() Config {
	c.DatabaseURL, c.RedisURL = withoutPassword(c.DatabaseURL), withoutPassword(c.RedisURL)
	return c
}
