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
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	gossh "golang.org/x/crypto/ssh"
	"google.golang.org/grpc"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/lifecycle"
	"gitsplit/kit/netx"
	"gitsplit/kit/probe"
	"gitsplit/services/shell/internal/certificate"
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

	groupCertificates bool // those of groups log in too
}

// New opens everything that can fail: secret, host keys, listeners.
// groupCertificates asks the internal API about certificates of authorities that
// the configuration does not trust.
func New(conf Config, groupCertificates bool, log *slog.Logger) (_ *App, err error) {
	reg := prometheus.NewRegistry()
	api, err := newAPI(conf, apiMetrics(reg))
	if err != nil {
		return nil, err
	}
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	a := &App{conf: conf, groupCertificates: groupCertificates, log: log, api: api, gitaly: pools(program, log, clientMetrics(reg)...), probes: probe.New(reg)}
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

// newAPI returns the client of the internal API; around, if not nil, is put around
// each attempt of a call.
func newAPI(conf Config, around func(http.RoundTripper) http.RoundTripper) (*internalapi.Client, error) {
	key, err := conf.secret()
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	if conf.SSLCertDir != "" {
		_ = os.Setenv("SSL_CERT_DIR", conf.SSLCertDir) // the TLS library reads it; only a bad name fails
	}
	h := conf.HTTPSettings
	return internalapi.New(internalapi.Config{
		URL: conf.GitLabURL, RelativeURLRoot: conf.GitLabRelativeURLRoot, Secret: key, UserAgent: userAgent,
		Timeout: h.ReadTimeout.D(), User: h.User, Password: h.Password, CAFile: h.CAFile, CAPath: h.CAPath,
		Attempts: apiAttempts, Wrap: around,
	})
}

// pools returns a pool of gitaly connections per git command: gitaly learns the
// command as the client's name (wire/gitlab-shell.md §6.2).
func pools(name string, log *slog.Logger, dial ...grpc.DialOption) map[command.Name]*gitalyclient.Pool {
	all := map[command.Name]*gitalyclient.Pool{}
	for _, cmd := range []command.Name{command.UploadPack, command.ReceivePack, command.UploadArchive} {
		all[cmd] = gitalyclient.NewPool(gitalyclient.Options{ClientName: name + "-" + string(cmd), Log: log, Dial: dial})
	}
	return all
}

func (a *App) newServer(reg prometheus.Registerer) (*sshd.Server, error) {
	c := a.conf.SSHD
	hostKeys, err := loadHostKeys(c.HostKeyFiles, c.HostCertFiles)
	if err != nil {
		return nil, err
	}
	var groups certificate.Groups
	if a.groupCertificates {
		groups = a.api
	}
	certificates, err := certificate.New(c.TrustedUserCAKeys, groups, time.Now)
	if err != nil {
		return nil, err
	}
	proxy, err := c.proxy()
	if err != nil {
		return nil, err
	}
	startups, err := sshd.ParseStartups(c.MaxStartups)
	if err != nil {
		return nil, err
	}
	metrics := sshd.NewMetrics(reg)
	runner := session.New(session.Deps{
		API:        a.api,
		Gitaly:     connections(a.gitaly),
		CountRelay: relayCounter(reg),
		Tokens:     a.conf.tokens(),
		Phase:      metrics.Phase,
		Now:        time.Now,
	})
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
		Startups:       startups,
		Proxy:          proxy,
	}, sshd.Deps{
		Keys:         keyLookup{a.api},
		Certificates: certificates,
		Runner:       runner,
		Log:          a.log,
		Metrics:      metrics,
		Draining:     a.probes.Stop,
	}), nil
}

func connections(pools map[command.Name]*gitalyclient.Pool) map[command.Name]session.Gitaly {
	all := map[command.Name]session.Gitaly{}
	for name, pool := range pools {
		all[name] = pool
	}
	return all
}

// loadHostKeys returns the host keys; those that have a certificate come with it
// first, so that clients that know the authority need not know the key.
func loadHostKeys(files, certFiles []string) ([]gossh.Signer, error) {
	var keys []gossh.Signer
	var faults []error
	for _, file := range files {
		key, err := hostkey.Load(file)
		keys, faults = append(keys, key), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	certified, err := hostkey.Certify(keys, certFiles)
	return append(certified, keys...), err
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
