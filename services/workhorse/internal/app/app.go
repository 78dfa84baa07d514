// Package app is gitlab-workhorse put together: its settings, and the wiring of
// its parts by hand.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/probe"
	"gitsplit/kit/secret"
	"gitsplit/services/workhorse/internal/api"
	"gitsplit/services/workhorse/internal/front"
	"gitsplit/services/workhorse/internal/gitaly"
	"gitsplit/services/workhorse/internal/githttp"
	"gitsplit/services/workhorse/internal/header"
	"gitsplit/services/workhorse/internal/jobpoll"
	"gitsplit/services/workhorse/internal/keywatch"
	"gitsplit/services/workhorse/internal/preauth"
	"gitsplit/services/workhorse/internal/proxy"
	"gitsplit/services/workhorse/internal/queueing"
	"gitsplit/services/workhorse/internal/senddata"
	"gitsplit/services/workhorse/internal/static"
	"gitsplit/services/workhorse/internal/store"
	"gitsplit/services/workhorse/internal/upload"
)

// secretSize is the length of the secret shared with rails-api.
const secretSize = 32

// App is one workhorse with its listeners open.
type App struct {
	config   Config
	log      *slog.Logger
	api      *api.Client
	cable    *api.Client // api, if it has no backend of its own
	gitalys  *gitalyclient.Pool
	uploads  *store.Store
	servers  gitaly.Servers // gitalys, counted
	probes   *probe.Set
	archives *senddata.Archives // nil keeps no archives
	public   []net.Listener     // the first is the one of the flags
	internal net.Listener       // nil without an internal listener
	metrics  net.Listener       // nil without an address for it
	certs    certificates
	pages    *proxy.Pages
	ending   chan struct{}         // closed when web sockets have to end
	redis    redis.UniversalClient // nil without Redis
	watcher  *keywatch.Watcher     // nil without Redis, or with long polling off

	publicDoor, internalDoor http.Handler
}

// New wires the parts and opens the listeners. Run closes what it opened.
func New(ctx context.Context, c Config, log *slog.Logger) (_ *App, err error) {
	a := &App{config: c, log: log, ending: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	key, err := secret.ReadBase64(c.SecretPath, secretSize)
	if err != nil {
		return nil, err
	}
	a.api, err = api.New(api.Options{Backend: c.AuthBackend, Socket: c.AuthSocket, Addresses: c.AuthAddresses,
		HeaderTimeout: c.ProxyHeadersTimeout.D(), Version: Version, Log: log})
	if err != nil {
		return nil, err
	}
	a.cable = a.api
	if c.CableBackend != "" || c.CableSocket != "" {
		o := api.Options{Backend: cmp.Or(c.CableBackend, c.AuthBackend), Socket: c.CableSocket,
			HeaderTimeout: c.ProxyHeadersTimeout.D(), Version: Version, Log: log}
		if a.cable, err = api.New(o); err != nil {
			return nil, err
		}
	}
	if a.redis, err = c.Redis.client(); err != nil {
		return nil, err
	}
	if a.redis != nil && c.APICILongPollingDuration > 0 {
		a.watcher = keywatch.New(a.redis, keywatch.NewMetrics(reg), log)
	}
	if a.pages, err = proxy.NewPages(c.DocumentRoot, reg); err != nil {
		return nil, fmt.Errorf("document_root: %w", err)
	}
	connections := gitaly.NewMetrics(reg)
	a.gitalys = gitalyclient.NewPool(gitalyclient.Options{ClientName: "gitlab-workhorse", Log: log,
		Dial: []grpc.DialOption{grpc.WithStatsHandler(connections)}})
	a.servers = connections.Count(a.gitalys)
	a.uploads = store.New(store.Options{TempDir: c.Uploads.TempDir, Log: log, Now: time.Now})
	for _, dir := range c.Uploads.Unfinished {
		a.uploads.Sweep(ctx, dir)
	}
	if c.Archives.Size > 0 {
		a.archives = senddata.NewArchives(c.Archives.Size, c.Archives.Age.D(), log, time.Now)
	}
	a.probes = probe.New(reg)
	a.probes.Add("rails-api", a.api.Check)
	if err := a.doors(reg, key); err != nil {
		return nil, err
	}
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	log.InfoContext(ctx, "configuration", slog.Any("effective", c))
	return a, nil
}

// doors builds the handlers of public and internal listeners.
func (a *App) doors(reg prometheus.Registerer, key []byte) error {
	trusted, err := header.ParseCIDRs(a.config.TrustedCIDRs)
	if err != nil {
		return fmt.Errorf("trusted_cidrs_for_x_forwarded_for: %w", err)
	}
	propagation, err := header.ParseCIDRs(a.config.PropagationCIDRs)
	if err != nil {
		return fmt.Errorf("trusted_cidrs_for_propagation: %w", err)
	}
	o := front.Options{
		Root: a.api.Root(),
		Policy: header.Policy{
			Trusted: trusted, Propagate: a.config.PropagateCorrelationID, PropagateFrom: propagation,
		},
		Timeouts: front.Timeouts{
			Read: a.config.ClientReadTimeout.D(), Write: a.config.ClientWriteTimeout.D(),
		},
		HTTPS:   front.HTTPS{Redirect: a.config.RedirectToHTTPS, HSTS: a.config.HSTSMaxAge.D()},
		Log:     a.log,
		Metrics: front.NewMetrics(reg),
	}
	handlers := a.handlers(reg, key)
	a.publicDoor = front.New(handlers, o)
	o.Internal = true
	a.internalDoor = front.New(handlers, o)
	return nil
}

func (a *App) handlers(reg prometheus.Registerer, key []byte) front.Handlers {
	limits := a.config.Git.limits()
	git := githttp.New(githttp.Options{
		Gitalys: a.servers, Limits: limits, TempDir: a.config.Git.TempDir,
		Metrics: githttp.NewMetrics(reg), Log: a.log,
	})
	auth := preauth.New(preauth.Options{
		API: a.api, Secret: key, Metrics: preauth.NewMetrics(reg), Log: a.log, Now: time.Now,
	})
	sender := senddata.New(senddata.Options{Gitalys: a.servers, Archives: a.archives, Metrics: senddata.NewMetrics(reg), Log: a.log})
	toRails := proxy.Options{API: a.api, Delegates: sender, BodyLimit: a.config.ProxyBodyLimit, Log: a.log, Now: time.Now}
	backend := proxy.New(toRails)
	toCable := toRails
	toCable.API = a.cable
	toRails.JSON = true
	uploads := upload.New(upload.Options{
		Auth: auth, Store: a.uploads, Secret: key, Metrics: upload.NewMetrics(reg), Log: a.log, Now: time.Now,
	})
	api := proxy.New(toRails)
	files := static.New(static.Options{Root: a.config.DocumentRoot, AltRoot: a.config.AltDocumentRoot, Prefix: a.api.Root(), Now: time.Now})
	return front.Handlers{
		InfoRefs:    auth.Then("", git.InfoRefs),
		UploadPack:  git.Inflate(limits.UploadPackBody, auth.Then("", git.UploadPack)),
		ReceivePack: git.Inflate(limits.InflatedPush, auth.Then("", git.ReceivePack)),
		BodyUpload:  uploads.Body(backend),
		FormUpload:  uploads.Multipart(api),
		Health:      proxy.Health(backend),
		API:         api,
		Cable:       proxy.WebSocket(proxy.New(toCable), a.ending),
		JobRequest:  a.jobRequest(reg, api),
		Proxy:       backend,
		Pages:       files.Serve(a.pages.Show(backend)),
	}
}

// jobRequest holds runners back while there is no job, and lets those through that
// rails-api has to see, some at a time.
func (a *App) jobRequest(reg prometheus.Registerer, next http.Handler) http.Handler {
	c := a.config
	next = queueing.New("ci_api_job_requests", queueing.Limits{
		Running: c.APILimit, Waiting: c.APIQueueLimit, Time: c.APIQueueDuration.D(),
	}, reg, next)
	if a.watcher == nil {
		return next
	}
	return jobpoll.New(a.watcher, c.APICILongPollingDuration.D(), jobpoll.NewMetrics(reg), next)
}

func (g Git) limits() githttp.Limits {
	return githttp.Limits{
		UploadPackBody:    g.UploadPackBodyLimit,
		UploadPackTime:    g.UploadPackBodyTimeout.D(),
		InflatedPush:      g.InflatedPushLimit,
		InflateRatio:      g.InflateRatio,
		HeldAnswer:        g.HeldAnswerLimit,
		DrainAfterFailure: g.DrainTimeout.D(),
	}
}

// Addr returns the address of the first public listener, the one of the flags.
func (a *App) Addr() net.Addr { return a.public[0].Addr() }

// Addrs returns the addresses of all public listeners.
func (a *App) Addrs() []net.Addr {
	list := make([]net.Addr, 0, len(a.public))
	for _, ln := range a.public {
		list = append(list, ln.Addr())
	}
	return list
}
