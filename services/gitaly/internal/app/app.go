package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/lifecycle"
	"gitsplit/kit/probe"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/backup"
	"gitsplit/services/gitaly/internal/cgroup"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/hook"
	"gitsplit/services/gitaly/internal/housekeeping"
	"gitsplit/services/gitaly/internal/inforefs"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/leftover"
	"gitsplit/services/gitaly/internal/linguist"
	"gitsplit/services/gitaly/internal/mirror"
	"gitsplit/services/gitaly/internal/monitor"
	"gitsplit/services/gitaly/internal/object"
	"gitsplit/services/gitaly/internal/operation"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/pool"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/replicate"
	"gitsplit/services/gitaly/internal/rpc"
	"gitsplit/services/gitaly/internal/rundir"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/suspect"
)

// Version is what this server says it is.
const Version = "0.1.0"

// finishTimeout bounds what an accepted push may take after its client left.
const finishTimeout = 30 * time.Second

// What is kept of git cat-file for the next request.
const (
	catFilesPerRepo = 8
	catFileIdle     = 10 * time.Second
	catFileAge      = 5 * time.Minute
)

// App is a gitaly that is ready to run.
type App struct {
	cfg     Config
	log     *slog.Logger
	metrics *monitor.Metrics
	probes  *probe.Set
	locator *storage.Locator
	guard   *leftover.Guard
	deps    *rpc.Deps
	refs    inforefs.Interceptors
	journal journal.Interceptors
	// scheduler keeps the repositories that are written to, marks those in which a sync
	// has failed.
	scheduler *housekeeping.Scheduler
	marks     *suspect.Marks
	run       *rundir.Dir
	cgroups   *cgroup.Manager // nil without
	limits    limits
	cert      *certificate // of the TLS listener; nil without
	token     string       // of the internal socket
	parts     []lifecycle.Part
	closers   []func() error // in the order of opening
}

// New opens everything that gitaly needs, in order, and closes what it opened when
// a later step fails. cfg must be valid. Run or Close must follow.
func New(ctx context.Context, cfg Config, log *slog.Logger) (_ *App, err error) {
	reg := prometheus.NewRegistry()
	a := &App{cfg: cfg, log: log, metrics: monitor.New(reg, cfg.Prometheus.GRPCLatencyBuckets), probes: probe.New(reg), token: rand.Text() + rand.Text()}
	a.guard = leftover.NewGuard(log, time.Now)
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	if err := a.openStorages(); err != nil {
		return nil, err
	}
	if err := a.openRunDir(); err != nil {
		return nil, err
	}
	a.openCgroups()
	a.makeLimits()
	if err := a.wire(ctx); err != nil {
		return nil, err
	}
	return a, a.listen()
}

func (a *App) openStorages() error {
	var storages []*storage.Storage
	for _, s := range a.cfg.Storages {
		st, err := storage.Open(s.Name, s.Path)
		if err != nil {
			return err
		}
		a.closers = append(a.closers, st.Close)
		if n, err := rundir.EndWriters(st.Path); err != nil {
			return err
		} else if n > 0 {
			a.log.Warn("ended what a dead gitaly left running", slog.String("storage", st.Name), slog.Int("processes", n))
		}
		storages = append(storages, st)
		a.probes.Add("storage "+st.Name, func(context.Context) error {
			_, _, err := st.Disk()
			return err
		})
	}
	a.locator = storage.NewLocator(storages...)
	return a.openMarks()
}

func (a *App) openRunDir() error {
	if a.cfg.BinDir == "" {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find own program: %w", err)
		}
		a.cfg.BinDir = filepath.Dir(exe)
	}
	run, err := rundir.Open(a.cfg.RuntimeDir, filepath.Join(a.cfg.BinDir, "gitaly-hooks"), a.log)
	if err != nil {
		return err
	}
	a.run = run
	a.closers = append(a.closers, run.Close)
	return nil
}

// openCgroups puts git into control groups if they are configured. It comes after the
// processes of a dead gitaly have been ended, which would keep its groups alive.
func (a *App) openCgroups() {
	if a.cfg.Cgroups.Repositories.Count == 0 {
		return
	}
	groups, err := cgroup.Open(a.cfg.Cgroups.groups(), os.Getpid(), a.log)
	if err != nil {
		a.log.Warn("control groups cannot be used; git runs without their limits", slog.Any("error", err))
		return
	}
	a.cgroups = groups
	a.closers = append(a.closers, groups.Close)
}

// bounds are those of each git process.
func (a *App) bounds() gitcmd.Bounds {
	l := a.cfg.Limits
	b := gitcmd.Bounds{Memory: l.ChildMemoryBytes, CPU: l.ChildCPUTime.D(), PushCPU: l.PushCPUTime.D()}
	if a.cgroups != nil {
		b.Place = a.cgroups.Place
	}
	return b
}

// wire makes the domain and the handlers' dependencies.
func (a *App) wire(ctx context.Context) error {
	path := os.Getenv("PATH")
	catFiles := gitcmd.NewCatFiles(gitcmd.CatFilesOptions{
		Max: a.cfg.Git.CatfileCacheSize, PerRepo: catFilesPerRepo, Idle: catFileIdle, MaxAge: catFileAge, Observer: a.metrics,
	})
	a.closers = append(a.closers, catFiles.Close)
	git, err := gitcmd.New(ctx, gitcmd.Options{
		Path: a.cfg.Git.BinPath, SearchPath: path, Home: a.run.Home(), PackThreads: gitcmd.DefaultPackThreads(),
		Admin: a.cfg.gitConfig(), Guard: a.guard, Observer: a.metrics, CatFiles: catFiles, Bounds: a.bounds(),
	})
	if err != nil {
		return err
	}
	a.metrics.Build(Version, git.Version().String())
	client, err := a.apiClient()
	if err != nil {
		return err
	}
	if err := a.openJournal(git, client); err != nil {
		return err
	}
	incoming := &object.Incoming{}
	hooks := hook.New(hook.Options{
		ReadAhead: func(ctx context.Context, quarantine *gitcmd.Repo) { incoming.News(ctx, git, quarantine) },
		API:       client, Journal: a.journal.Journal, CustomDir: a.cfg.Hooks.CustomHooksDir, GitBinDir: git.BinDir(), SearchPath: path, Home: a.run.Home(), Log: a.log,
		Memory: a.bounds().Memory, Place: a.bounds().Place,
	})
	setup := pack.HookSetup{
		New: a.run.NewHooks, Custom: hooks.HasCustom, PackObjects: a.run.PackObjects(), RuntimeDir: a.run.Path, Socket: a.run.Socket(), Token: a.token,
	}
	packs, err := a.packs(git, setup)
	if err != nil {
		return err
	}
	peers := gitalyclient.NewPool(gitalyclient.Options{ClientName: "gitaly", Log: a.log})
	a.closers = append(a.closers, peers.Close)
	remotes := remote.New(git)
	backups, err := a.backups()
	if err != nil {
		return err
	}
	clones := clone.New(git, remotes, a.cfg.Remote.MaxSnapshotBytes)
	keeper := housekeeping.New(housekeeping.Options{
		Git: git, Sweeper: a.guard, Marks: a.marks, Observer: a.metrics, Log: a.log, Now: time.Now, Parallel: a.cfg.Housekeeping.MaxConcurrency,
	})
	a.deps = &rpc.Deps{
		Locator: a.locator, Git: git, Incoming: incoming, Protocols: a.metrics, Log: a.log, Version: Version, Now: time.Now, Ready: a.ready,
		Housekeeping: keeper, Linguist: linguist.Options{Path: filepath.Join(a.cfg.BinDir, "gitaly-linguist"), Memory: a.bounds().Memory},
		Hooks: hooks, Operations: operation.New(operation.Options{Git: git, Hooks: hooks, Journal: a.journal.Journal, Setup: setup, Remotes: remotes, Writers: a.guard, Log: a.log, Now: time.Now}),
		Directory: remote.Directory{Locator: a.locator, Git: git, Peers: peers}, Outbound: remote.Policy{AllowLocal: a.cfg.Remote.AllowLocalNetworks},
		Remotes: remotes, Clones: clones, Backups: backup.New(git, remotes, backups), Mirrors: mirror.New(git, remotes),
		Copies: replicate.New(git, remotes, clones),
		Pools:  pool.New(pool.Options{Git: git, Remotes: remotes, Keeper: keeper, Writers: a.guard, Log: a.log}),
		Packs:  packs,
	}
	a.scheduler = housekeeping.NewScheduler(a.deps.Housekeeping)
	a.checkMarked()
	return nil
}

// backups opens the directory of backups, nil if there is none.
func (a *App) backups() (*backup.Store, error) {
	dir, err := a.cfg.Backup.dir()
	if err != nil || dir == "" {
		return nil, err
	}
	store, err := backup.OpenStore(dir)
	if err != nil {
		return nil, err
	}
	a.closers = append(a.closers, store.Close)
	return store, nil
}

func (a *App) apiClient() (*api.Client, error) {
	secret, err := a.cfg.gitlabSecret()
	if err != nil {
		return nil, err
	}
	settings := a.cfg.GitLab.HTTPSettings
	timeout := settings.ReadTimeout.D()
	client, err := internalapi.New(internalapi.Config{
		URL: a.cfg.GitLab.URL, RelativeURLRoot: a.cfg.GitLab.RelativeURLRoot, Secret: []byte(secret),
		UserAgent: "gitaly/" + Version, Timeout: timeout, RequireJSON: true,
		User: settings.User, Password: settings.Password, CAFile: settings.CAFile, CAPath: settings.CAPath,
	})
	if err != nil {
		return nil, fmt.Errorf("gitlab.url: %w", err)
	}
	a.closers = append(a.closers, func() error {
		client.Close()
		return nil
	})
	return api.New(client, timeout, a.metrics), nil
}

// ready is the outcome of the checks for ReadinessCheck: unlike the probe it
// writes to each storage.
func (a *App) ready(context.Context) map[string]error {
	failed := map[string]error{}
	for _, st := range a.locator.Storages() {
		if err := st.Writable(); err != nil {
			failed["storage "+st.Name] = err
		}
	}
	return failed
}

// Run serves until ctx ends, drains, and closes everything.
func (a *App) Run(ctx context.Context) error {
	a.log.InfoContext(ctx, "gitaly starts", slog.String("version", Version), slog.String("git_version", a.deps.Git.Version().String()),
		slog.String("runtime_dir", a.run.Path), slog.Int("storages", len(a.cfg.Storages)))
	err := lifecycle.Run(ctx, a.log, a.parts...)
	return errors.Join(err, a.Close())
}

// Close lets go of everything; Run does it itself.
func (a *App) Close() error {
	var faults []error
	for i := len(a.closers) - 1; i >= 0; i-- {
		faults = append(faults, a.closers[i]())
	}
	a.closers = nil
	return errors.Join(faults...)
}
