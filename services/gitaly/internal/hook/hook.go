// Package hook decides what git's hooks do in a push (wire/gitaly.md §6): ask the
// internal API, run the site's custom hooks, print the API's messages. The hook
// binary only carries bytes between git and here.
//
// Each method writes to the given stdout and stderr what the user shall see and
// returns nil, *Exit for a hook that ends with a code, or another error, which
// the user sees as "error executing git hook".
package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/internalapi"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/process"
	"gitsplit/services/gitaly/internal/storage"
)

// API is the internal API as this package needs it.
type API interface {
	Allowed(ctx context.Context, p api.Push) error
	PreReceive(ctx context.Context, p api.Push) (bool, error)
}

// Journal is the push journal as this package needs it.
type Journal interface {
	// Begin writes down what a push is about to do; who started the push says when it
	// is over.
	Begin(ctx context.Context, storageName string, p api.Push) error
	// Forget takes that back.
	Forget(ctx context.Context, id string)
	// Deliver reports what has moved and returns the API's messages and whether the
	// counter of pushes in flight went down, or journal.ErrLater.
	Deliver(ctx context.Context, id, changes string) ([]internalapi.Message, bool, error)
}

// Options is what a Manager needs.
type Options struct {
	API        API
	Journal    Journal
	ReadAhead  func(ctx context.Context, quarantine *gitcmd.Repo) // what the API will ask about a push; nil for nothing
	CustomDir  string                                             // server-wide custom hooks; "" for none
	GitBinDir  string                                             // comes first in the PATH of custom hooks
	SearchPath string                                             // PATH
	Home       string
	Log        *slog.Logger
	// Memory bounds what a custom hook allocates, and Place is where it is accounted, as
	// for git; 0 and nil are neither.
	Memory int64
	Place  func(key string) (*process.Cgroup, error)
}

// Limits of custom hooks (security-baseline.md R5).
const (
	beforeTimeout = 30 * time.Second // pre-receive and update
	afterTimeout  = 10 * time.Second // post-receive
)

// Manager carries out hooks. It is safe for concurrent use.
type Manager struct{ o Options }

// New returns a manager.
func New(o Options) *Manager { return &Manager{o: o} }

// Call is one hook of one push.
type Call struct {
	ID      string // of the push
	Payload hookpayload.Payload
	Repo    *storage.Repo
	Env     []string // the hook's own environment, with git's variables
	Options []string // push options
	Changes []byte   // stdin of pre-receive and post-receive
}

// Exit is a hook that ends the process with a code after its output.
type Exit struct {
	Code   int32
	Stderr string // to be sent in the last message; may be empty
	Custom bool   // a custom hook refused, not the internal API
}

// Error says what the hook ends with.
func (e *Exit) Error() string { return fmt.Sprintf("hook exits with %d: %s", e.Code, e.Stderr) }

// PreReceive decides whether the push may change anything.
func (m *Manager) PreReceive(ctx context.Context, c Call, stdout, stderr io.Writer) error {
	push, err := c.push()
	if err != nil {
		return &Exit{Code: 1, Stderr: err.Error()}
	}
	if fault.Enabled {
		fault.Point(ctx, fault.BeforeAllowed, push.GLRepository)
	}
	stop := m.readAhead(ctx, c.Repo, push)
	err = m.o.API.Allowed(ctx, push)
	stop()
	if err != nil {
		return m.denied(ctx, "GitLab: ", err)
	}
	if fault.Enabled {
		fault.Point(ctx, fault.AfterAllowed, push.GLRepository)
	}
	run := custom{name: "pre-receive", stdin: c.Changes, stdout: stdout, stderr: stderr, timeout: beforeTimeout}
	if err := m.runCustom(ctx, c, run); err != nil {
		return err
	}
	if err := m.o.Journal.Begin(ctx, c.Repo.Storage.Name, push); err != nil {
		return unwritten(err)
	}
	increased, err := m.o.API.PreReceive(ctx, push)
	if r, ok := asRefusal(err); ok && r.Status/100 == 4 || err == nil && !increased {
		m.o.Journal.Forget(ctx, push.ID) // it was not counted; after any other error, also of a proxy, it may have been
	}
	if err != nil {
		return m.denied(ctx, "calling pre_receive endpoint: ", err)
	}
	if !increased {
		return &Exit{Code: 1}
	}
	if fault.Enabled {
		fault.Point(ctx, fault.AfterPreReceive, push.GLRepository)
	}
	return nil
}

// readAhead starts to read the objects of a push: the API asks for them as soon as it
// knows that the user may push, and git takes as long to start. stop ends that and waits.
func (m *Manager) readAhead(ctx context.Context, repo *storage.Repo, p api.Push) (stop func()) {
	if m.o.ReadAhead == nil || p.ObjectDirectory == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	quarantine := repo.Repo
	quarantine.ObjectDir = filepath.Join(repo.Dir, p.ObjectDirectory)
	var reading sync.WaitGroup
	reading.Go(func() { m.o.ReadAhead(ctx, &quarantine) })
	return func() {
		cancel()
		reading.Wait()
	}
}

// unwritten tells the user why the journal did not take the push.
func unwritten(err error) error {
	var e *errs.Error
	if errors.As(err, &e) {
		return &Exit{Code: 1, Stderr: "GitLab: " + e.Msg}
	}
	return err
}

// Update runs the custom update hooks for one ref.
func (m *Manager) Update(ctx context.Context, c Call, ref, oldOID, newOID string, stdout, stderr io.Writer) error {
	if !validOID(oldOID) || !validOID(newOID) || len(oldOID) != len(newOID) {
		return errs.Newf(errs.Internal, "hook got invalid object ids %q and %q", oldOID, newOID)
	}
	if c.Payload.UserDetails == nil {
		return errs.New(errs.Internal, "payload has no receive hooks info")
	}
	run := custom{name: "update", args: []string{ref, oldOID, newOID}, stdout: stdout, stderr: stderr, timeout: beforeTimeout}
	return m.runCustom(ctx, c, run)
}

// PostReceive reports the moved refs and prints what the API has to say.
func (m *Manager) PostReceive(ctx context.Context, c Call, stdout, stderr io.Writer) error {
	push, err := c.push()
	if err != nil {
		return &Exit{Code: 1, Stderr: err.Error()}
	}
	messages, decreased, err := m.o.Journal.Deliver(ctx, push.ID, push.Changes)
	if errors.Is(err, journal.ErrLater) {
		messages, decreased, err = []internalapi.Message{{Type: internalapi.MessageBasic, Message: later}}, true, nil
	}
	if err != nil {
		return m.denied(ctx, "GitLab: ", err)
	}
	if err := writeMessages(stdout, messages); err != nil {
		return fmt.Errorf("error writing messages to stream: %w", err)
	}
	if !decreased {
		return &Exit{Code: 1}
	}
	run := custom{name: "post-receive", stdin: c.Changes, stdout: stdout, stderr: stderr, timeout: afterTimeout}
	return m.runCustom(ctx, c, run)
}

// later is what the user reads when the API is not there after the references have
// moved.
const later = "Your push is done and safe, but GitLab has not processed it yet:\n" +
	"merge requests, pipelines and webhooks follow by themselves. Do not push again."

// HasCustom reports whether the site has a custom hook of that name for the
// repository.
func (m *Manager) HasCustom(repo *storage.Repo, name string) (bool, error) {
	files, err := m.customFiles(repo.Dir, name)
	return len(files) > 0, err
}

// ReferenceTransaction has nobody to vote with: there is no Praefect here.
func (m *Manager) ReferenceTransaction(context.Context, Call) error { return nil }

// denied turns a refusal of the API into the hook's end; the log learns the cause.
func (m *Manager) denied(ctx context.Context, prefix string, err error) error {
	r, ok := asRefusal(err)
	if !ok {
		return err
	}
	if r.Err != nil {
		m.o.Log.WarnContext(ctx, "internal API failed during a push", slog.Any("error", err))
	}
	return &Exit{Code: 1, Stderr: Printable(prefix + r.Text)}
}

// push collects what the API is told, or says what is missing (wire/gitaly.md
// §6.5; the texts are those of the protocol).
func (c Call) push() (api.Push, error) {
	glRepository, user := c.Payload.Repository.GetGlRepository(), c.Payload.UserDetails
	switch {
	case len(c.Changes) == 0:
		return api.Push{}, fmt.Errorf("hook got no reference updates")
	case glRepository == "":
		return api.Push{}, fmt.Errorf("repository not set")
	case user == nil:
		return api.Push{}, fmt.Errorf("payload has no receive hooks info")
	case user.UserID == "":
		return api.Push{}, fmt.Errorf("user ID not set")
	case user.Protocol == "":
		return api.Push{}, fmt.Errorf("protocol not set")
	}
	if err := checkChanges(c.Changes); err != nil {
		return api.Push{}, err
	}
	if err := checkOptions(c.Options); err != nil {
		return api.Push{}, err
	}
	object, alternates, err := c.quarantine()
	if err != nil {
		return api.Push{}, err
	}
	return api.Push{
		ID: c.ID, GLID: user.UserID, Protocol: user.Protocol, GLRepository: glRepository,
		Dir: c.Repo.Dir, RelativePath: c.Repo.RelativePath, Changes: string(c.Changes), Options: c.Options,
		ObjectDirectory: object, Alternates: alternates, ClientContext: c.Payload.ClientContext, RemoteIP: user.RemoteIP,
	}, nil
}

// quarantine returns the object directories that git told the hook, relative to
// the repository; empty outside of a quarantine.
func (c Call) quarantine() (object string, alternates []string, err error) {
	objectDir, alternateDirs := c.objectDirs()
	if objectDir == "" {
		return "", nil, nil
	}
	rel, err := c.Repo.RelativeObjectDirs(append([]string{objectDir}, alternateDirs...)...)
	if err != nil {
		return "", nil, err
	}
	return rel[0], rel[1:], nil
}

func (c Call) objectDirs() (object string, alternates []string) {
	object = c.Getenv("GIT_OBJECT_DIRECTORY")
	if object != "" && !filepath.IsAbs(object) {
		object = filepath.Join(c.Repo.Dir, object)
	}
	for _, a := range strings.FieldsFunc(c.Getenv("GIT_ALTERNATE_OBJECT_DIRECTORIES"), func(r rune) bool { return r == ':' }) {
		if !filepath.IsAbs(a) {
			a = filepath.Join(c.Repo.Dir, a)
		}
		alternates = append(alternates, a)
	}
	return object, alternates
}

// Getenv looks a variable of the hook up; the last entry wins.
func (c Call) Getenv(key string) string {
	for i := len(c.Env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(c.Env[i], key+"="); ok {
			return v
		}
	}
	return ""
}
