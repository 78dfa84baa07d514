// Package app puts gitlab-sshd together: configuration, the parts wired by hand,
// and the order in which they start and stop.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	gossh "golang.org/x/crypto/ssh"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/lifecycle"
	"gitsplit/kit/netx"
	"gitsplit/kit/probe"
	"gitsplit/services/shell/internal/command"
	"gitsplit/services/shell/internal/hostkey"
	"gitsplit/services/shell/internal/session"
	"gitsplit/services/shell/internal/sshd"
)

const (
	program     = "gitlab-sshd"
	userAgent   = "GitLab-Shell"
	apiAttempts = 3
	// stopReserve is what the daemon needs after its grace period: sessions say
	// goodbye for two seconds.
	stopReserve = 4 * time.Second
	probeGrace  = time.Second
)

// App is a wired gitlab-sshd. It owns its listeners until Run has ended, or Close.
type App struct {
	conf   Config
	log    *slog.Logger
	api    *internalapi.Client
	gitaly map[command.Name]*gitalyclient.Pool
	server *sshd.Server
	probes *probe.Set
	ssh    net.Listener
	web    net.Listener // nil if switched off
}

// New opens everything that can fail: secret, host keys, listeners.
func New(conf Config, log *slog.Logger) (_ *App, err error) {
	key, err := conf.secret()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	reg := prometheus.NewRegistry()
	api, err := internalapi.New(internalapi.Config{
		URL:             conf.GitLabURL,
		RelativeURLRoot: conf.GitLabRelativeURLRoot,
		Secret:          key,
		UserAgent:       userAgent,
		Timeout:         conf.HTTPSettings.ReadTimeout.D(),
		Attempts:        apiAttempts,
		Wrap:            apiMetrics(reg),
	})
	if err != nil {
		return nil, err
	}
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	a := &App{conf: conf, log: log, api: api, gitaly: pools(log), probes: probe.New(reg)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if a.server, err = a.newServer(reg); err != nil {
		return nil, err
	}
	a.probes.Add("ssh", a.server.Ready)
	return a, a.listen()
}

// pools returns a pool of gitaly connections per git command: gitaly learns the
// command as the client's name (wire/gitlab-shell.md §6.2).
func pools(log *slog.Logger) map[command.Name]*gitalyclient.Pool {
	all := map[command.Name]*gitalyclient.Pool{}
	for _, name := range []command.Name{command.UploadPack, command.ReceivePack, command.UploadArchive} {
		all[name] = gitalyclient.NewPool(gitalyclient.Options{ClientName: program + "-" + string(name), Log: log})
	}
	return all
}

func (a *App) newServer(reg prometheus.Registerer) (*sshd.Server, error) {
	hostKeys, err := loadHostKeys(a.conf.SSHD.HostKeyFiles)
	if err != nil {
		return nil, err
	}
	gitaly := map[command.Name]session.Gitaly{}
	for name, pool := range a.gitaly {
		gitaly[name] = pool
	}
	runner := session.New(session.Deps{
		API:        a.api,
		Gitaly:     gitaly,
		CountRelay: relayCounter(reg),
		Tokens:     session.Tokens{Enabled: a.conf.PAT.Enabled, Scopes: a.conf.PAT.AllowedScopes},
		Now:        time.Now,
	})
	c := a.conf.SSHD
	return sshd.New(sshd.Options{
		User:           a.conf.User,
		HostKeys:       hostKeys,
		Algorithms:     c.algorithms(),
		LoginGrace:     c.LoginGraceTime.D(),
		AliveInterval:  c.ClientAliveInterval.D(),
		Grace:          c.GracePeriod.D(),
		MaxSessions:    c.ConcurrentSessionsLimit,
		MaxConnections: c.MaxConnections,
		MaxPerAddress:  c.MaxConnectionsPerAddress,
	}, sshd.Deps{
		Keys:     keyLookup{a.api},
		Runner:   runner,
		Log:      a.log,
		Metrics:  sshd.NewMetrics(reg),
		Draining: a.probes.Stop,
	}), nil
}

func loadHostKeys(files []string) ([]gossh.Signer, error) {
	var keys []gossh.Signer
	var faults []error
	for _, file := range files {
		key, err := hostkey.Load(file)
		keys, faults = append(keys, key), append(faults, err)
	}
	return keys, errors.Join(faults...)
}

func (a *App) listen() (err error) {
	if a.ssh, err = netx.Listen(a.conf.SSHD.Listen); err != nil {
		return fmt.Errorf("sshd.listen: %w", err)
	}
	if a.conf.SSHD.WebListen == "" {
		return nil
	}
	if a.web, err = netx.Listen(a.conf.SSHD.WebListen); err != nil {
		return fmt.Errorf("sshd.web_listen: %w", err)
	}
	return nil
}

// Run serves until ctx ends, then drains and closes everything.
func (a *App) Run(ctx context.Context) error {
	var parts []lifecycle.Part
	if a.web != nil { // first in, last out: probes answer while sessions end
		a.log.InfoContext(ctx, "listening for probes", slog.String("address", a.web.Addr().String()))
		srv := netx.HTTPServer(a.webHandler(), a.log)
		parts = append(parts, lifecycle.HTTP("web", srv, a.web, probeGrace))
	}
	parts = append(parts, lifecycle.Part{Name: "probes", Run: a.runProbes}, lifecycle.Part{
		Name:  "sshd",
		Run:   a.runServer,
		Grace: a.conf.SSHD.GracePeriod.D() + stopReserve,
	})
	return errors.Join(lifecycle.Run(ctx, a.log, parts...), a.Close())
}

func (a *App) runServer(ctx context.Context, ready func()) error {
	a.log.InfoContext(ctx, "listening for SSH connections", slog.String("address", a.ssh.Addr().String()))
	ready()
	return a.server.Serve(ctx, a.ssh)
}

func (a *App) runProbes(ctx context.Context, ready func()) error {
	ready()
	a.probes.Run(ctx)
	return nil
}

func (a *App) webHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", a.probes.Handler())
	mux.HandleFunc("GET "+a.conf.SSHD.ReadinessProbe, a.probes.ServeReadiness)
	mux.HandleFunc("GET "+a.conf.SSHD.LivenessProbe, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK)
	})
	return mux
}

// Close releases what New opened; Run does it itself.
func (a *App) Close() error {
	var faults []error
	for _, ln := range []net.Listener{a.ssh, a.web} {
		if ln == nil {
			continue
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			faults = append(faults, err)
		}
	}
	for _, pool := range a.gitaly {
		faults = append(faults, pool.Close())
	}
	a.api.Close()
	return errors.Join(faults...)
}
