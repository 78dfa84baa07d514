package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"gitsplit/kit/config"
	"gitsplit/kit/logging"
	"gitsplit/services/rails-api/internal/admin"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/projectrepo"
	"gitsplit/services/rails-api/internal/worker"
)

// Streams are the standard streams of a program.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// operate is one of the commands that an operator gives, mostly through `gitsplit`, while the services run.
type operate func(b *base, ctx context.Context, s Streams, args []string) error

func operations() map[string]operate {
	return map[string]operate{
		"admin": (*base).admin, "backup": (*base).backup, "restore": (*base).restore, "doctor": (*base).doctor, "reconcile": (*base).reconcile,
	}
}

// Process runs the command line of rails-api and returns its exit code: 0, 1 for a failure, 2 for a wrong command line of an operator.
func Process(ctx context.Context, args []string, env func(string) (string, bool), s Streams) int {
	flags := flag.NewFlagSet("rails-api", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // Main tells
	file := flags.String("config", "", "")
	var op operate
	if flags.Parse(args) == nil {
		op = operations()[flags.Arg(0)]
	}
	var err error
	if op == nil {
		err = Main(ctx, args, env, s.Err)
	} else {
		err = operated(ctx, op, *file, flags.Args()[1:], env, s)
	}
	var usage *admin.UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(s.Err, "%v\n", usage)
		return 2
	case op != nil:
		_, _ = fmt.Fprintf(s.Err, "%s: %v\n", flags.Arg(0), err)
		return 1
	}
	_, _ = fmt.Fprintf(s.Err, "rails-api: %v\n", err)
	return 1
}

// operated reads the configuration and runs an operator's command. Of the log, only what is wrong is shown.
func operated(ctx context.Context, op operate, file string, args []string, env func(string) (string, bool), s Streams) (err error) {
	cfg := Default()
	if err := config.Load(&cfg, config.Options{File: file, EnvPrefix: "RAILS_API", LookupEnv: env}); err != nil {
		return err
	}
	log, err := logging.New(s.Err, logging.Options{Service: "rails-api", Level: "error"})
	if err != nil {
		return err
	}
	b, err := open(ctx, cfg, "rails-api-operator", log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return op(b, ctx, s, args)
}

// admin is `rails-api admin …`.
func (b *base) admin(ctx context.Context, s Streams, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "-help", "--help"}, args[0]) {
		_, err := io.WriteString(s.Out, admin.Usage("gitsplit admin"))
		return err
	}
	jobs, err := worker.Inserter(b.db, b.log)
	if err != nil {
		return err
	}
	box, err := b.box()
	if err != nil {
		return err
	}
	return admin.Run(ctx, admin.Deps{
		Storages: b.gitaly, Added: gitstorage.New(b.db, box),
		DB: b.db, Projects: projectrepo.New(b.db, b.gitaly, jobs, b.log, time.Now), Jobs: jobs, Now: time.Now, In: s.In, Out: s.Out,
	}, args)
}
