// Package pack serves git's own transport commands: receive-pack, upload-pack and
// upload-archive (wire/gitaly.md §5). Bytes are streamed between the caller and
// git; nothing is held in memory but a packet.
//
// A push has one moment that counts: when pre-receive has accepted it. Before, a
// caller that goes away ends git and nothing stays. After, git finishes its work
// whether or not somebody still listens, so that refs never move without their
// post-receive.
package pack

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/inforefs"
	"gitsplit/services/gitaly/internal/storage"
	"gitsplit/services/gitaly/internal/streamcache"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	Run(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) error
	OutOfMemory(since time.Time) bool
}

// HookSetup is how git finds gitaly-hooks, and gitaly-hooks finds us.
type HookSetup struct {
	// New makes a directory with the named hooks for one push; the push removes it.
	New func(names ...string) (string, error)
	// Custom reports whether the site has a custom hook of that name.
	Custom func(repo *storage.Repo, name string) (bool, error)
	// PackObjects is gitaly-hooks under the name by which it stands in for git
	// pack-objects.
	PackObjects string
	RuntimeDir  string
	Socket      string // the internal socket's path
	Token       string // good on that socket only
}

// Options is what a Service needs.
type Options struct {
	Git   Git
	Hooks HookSetup
	// Journal is told the end of each push: which references have moved, nil if git
	// did not say.
	Journal interface {
		End(ctx context.Context, id string, moved func(ref string) bool)
	}
	// Suspect is told of a repository in which git could not write what it has said.
	Suspect func(ctx context.Context, repo *storage.Repo, err error)
	Log     *slog.Logger
	// FinishTimeout bounds what an accepted push may take after its caller left.
	FinishTimeout time.Duration
	// Idle bounds the time in which no byte moves in a push or fetch; 0 does not.
	Idle time.Duration
	// Until a fetch has sent "done", and an archive request its end.
	UploadPackNegotiation    time.Duration
	UploadArchiveNegotiation time.Duration
	// Cache shares packs; nil leaves them to upload-pack. SpoolDir is for what its
	// clients ask for, where that is long.
	Cache    *streamcache.Cache
	SpoolDir string
	// ShareFrom is the size of a repository's packs, in bytes, from which on a fetch
	// looks for its pack in the cache although no other fetch is under way.
	ShareFrom int64
	// InfoRefs keeps what upload-pack tells of references.
	InfoRefs *inforefs.Cache
	// Limit bounds the packs in the making.
	Limit Limit
}

// Limit gives turns to clients, by their address and user.
type Limit interface {
	Acquire(ctx context.Context, remoteIP, username string) (release func(), err error)
}

// Service runs transport commands. It is safe for concurrent use.
type Service struct {
	o       Options
	mu      sync.Mutex
	pushes  map[string]*shield
	fetches map[string]int // under way, by directory
	// bypasses lead to the clients of fetches that may get their pack from us.
	bypasses map[string]*bypass
}

// New returns a service.
func New(o Options) *Service {
	return &Service{o: o, pushes: map[string]*shield{}, fetches: map[string]int{}, bypasses: map[string]*bypass{}}
}

// Streams are the caller's ends. Stdin must return from Read when the RPC ends.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer // Stderr may be nil
}

// hungUp is all that git says when the client went away.
const hungUp = "fatal: the remote end hung up unexpectedly\n"

// ClientLeft reports whether git failed because its client went away.
func ClientLeft(err error) bool {
	var e *gitcmd.Error
	return errors.As(err, &e) && e.Stderr == hungUp
}

// request is what all transport RPCs carry besides the repository.
func transport(name, protocol string, options []string, flags ...string) (gitcmd.Spec, error) {
	config, err := gitcmd.ParseConfig(options)
	if err != nil {
		return gitcmd.Spec{}, err
	}
	version, _ := gitcmd.Protocol(protocol)
	return gitcmd.Spec{Name: name, Flags: flags, Config: config, Env: gitcmd.ProtocolEnv(version)}, nil
}
