package services

import (
	"context"
	"path/filepath"
	"syscall"
	"time"

	"gitsplit/ctl/internal/ready"
	"gitsplit/ctl/internal/redis"
	"gitsplit/ctl/internal/supervise"
)

// grace is how long a service may take to stop: 10 s of it are for requests in
// flight (security-baseline.md K4).
const grace = 15 * time.Second

// railsPrefix begins the variables of rails-api and sidekiq.
const railsPrefix = "RAILS_API_"

// Specs returns the definitions of all processes, without their Output.
func (p Plan) Specs() []supervise.Spec {
	return []supervise.Spec{
		p.postgres(),
		{
			Name: Redis, Path: p.Redis, Args: []string{p.Home.Config("redis.conf")},
			Env: p.env(""), Grace: grace, Orphan: syscall.SIGKILL, // it has nothing to lose
			Ready: func(ctx context.Context, _ int) error { return redis.Ready(ctx, p.Socket("redis")) },
		},
		p.service(Gitaly, "GITALY_", nil, "serve", p.Home.Config("gitaly.toml")),
		p.service(RailsAPI, railsPrefix, []string{Postgres, Redis}, "-config", p.Home.Config("rails-api.yml")),
		p.service(Sidekiq, railsPrefix, []string{RailsAPI, Gitaly}, "-config", p.Home.Config("rails-api.yml")),
		p.service(Workhorse, "WORKHORSE_", []string{RailsAPI, Gitaly},
			"-config", p.Home.Config("workhorse.toml"),
			"-secretPath", p.Home.Secret("gitlab_workhorse_secret"),
			"-authSocket", p.Socket("rails-api"),
			"-listenAddr", p.Settings.HTTPAddr(),
			"-prometheusListenAddr", p.ProbeAddr(Workhorse)),
		p.service(SSHD, "SHELL_", []string{Workhorse}, "-config-dir", p.Home.Config("shell")),
	}
}

// postgres stops with SIGINT ("fast"): open transactions are rolled back and the
// data are written out. SIGTERM would wait for clients to leave.
func (p Plan) postgres() supervise.Spec {
	return supervise.Spec{
		Name: Postgres, Path: p.Postgres.Program(), Args: p.Postgres.Args(), User: p.Postgres.User,
		Env: []string{"LC_ALL=C", "TZ=UTC"}, Dir: "/", Before: p.Postgres.Prepare, Ready: p.Postgres.Ready,
		Stop: syscall.SIGINT, Orphan: syscall.SIGINT, Grace: 2 * grace,
	}
}

// service is one of our own; variables that begin with prefix are its settings.
func (p Plan) service(name, prefix string, after []string, args ...string) supervise.Spec {
	socket := p.Socket(name + "-probe")
	return supervise.Spec{
		Name: name, Path: filepath.Join(p.Bin, name), Args: args, Env: p.env(prefix), After: after, Grace: grace,
		Ready: func(ctx context.Context, _ int) error { return ready.Ask(ctx, "unix:"+socket) },
	}
}
