// Package session runs one command of one authenticated user: it asks the
// internal API what the user may do, relays git to gitaly, and tells the user in
// the documented words when something is refused or breaks
// (wire/gitlab-shell.md §4 to §6). It knows nothing of SSH: the daemon and a
// forced command under OpenSSH can use it alike.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/command"
	"gitsplit/services/shell/internal/console"
)

// Identity is who logged in: by a key or by a certificate (wire/gitlab-shell.md §2).
type Identity struct {
	// KeyID is the id of the SSH key whose signature was verified; 0 without one.
	KeyID int64
	// Username is the name in a certificate; "" without one.
	Username string
	// Namespace is the group whose authority signed the certificate: nothing outside
	// of it is open. "" is no bound.
	Namespace string
}

// Request is one command that an authenticated user sent, with the streams to
// answer it on.
type Request struct {
	Identity
	// RemoteAddr is the client's address, as ip:port.
	RemoteAddr string
	// Line is the command line as it came; empty for a shell request.
	Line string
	// GitProtocol is the value of GIT_PROTOCOL that the client sent, or "".
	GitProtocol string

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// API is what the commands ask of the internal API.
type API interface {
	Allowed(ctx context.Context, req internalapi.AllowedRequest) (internalapi.AllowedResponse, error)
	Discover(ctx context.Context, keyID int64, username string) (internalapi.DiscoverResponse, error)
	// Post is any other call: body as JSON, the answer into out.
	Post(ctx context.Context, path string, body, out any) error
}

// Gitaly gives connections to gitaly servers; they stay the pool's.
type Gitaly interface {
	// ConnRetrying repeats calls as the policy says, gRPC's JSON; none is the default.
	ConnRetrying(address, token string, policy json.RawMessage) (*grpc.ClientConn, error)
}

// Runner runs commands. It is safe for concurrent use.
type Runner struct {
	api    API
	gitaly map[command.Name]Gitaly
	count  func(ok bool)
	tokens Tokens
	phase  func(name string, took time.Duration)
	forced bool
	now    func() time.Time
}

// Deps are what a Runner works with.
type Deps struct {
	API API
	// Gitaly has one pool per git command: gitaly is told the command's name when
	// a connection is made.
	Gitaly map[command.Name]Gitaly
	// CountRelay is called after each command that was relayed to gitaly.
	CountRelay func(ok bool)
	// Tokens are the rules of personal_access_token.
	Tokens Tokens
	// Phase is told how long the access check and the relay took; nil tells nobody.
	Phase func(name string, took time.Duration)
	// ForcedCommand words failures as gitlab-shell does under OpenSSH, where the
	// daemon has words of its own (wire/gitlab-shell.md §5).
	ForcedCommand bool
	// Now is the clock; days end in its time zone.
	Now func() time.Time
}

// New returns a runner.
func New(d Deps) *Runner {
	if d.Phase == nil {
		d.Phase = func(string, time.Duration) {}
	}
	return &Runner{
		api: d.API, gitaly: d.Gitaly, count: d.CountRelay, tokens: d.Tokens, phase: d.Phase, forced: d.ForcedCommand, now: d.Now,
	}
}

// Run answers req and returns the exit status. An error is a failure of ours, not
// a refusal; the user has been told what there is to know.
func (r *Runner) Run(ctx context.Context, req Request) (exit int, err error) {
	cmd, err := command.Parse(req.Line)
	if cmd.Name == "" {
		logging.AddAttrs(ctx, slog.String(logging.KeyCommand, "unknown"))
	} else {
		logging.AddAttrs(ctx, slog.String(logging.KeyCommand, string(cmd.Name)))
	}
	if err == nil && req.Namespace != "" && !cmd.Name.Repository() {
		err = &command.UnknownError{Line: req.Line}
	}
	if err == nil {
		err = r.dispatch(ctx, cmd, req)
	}
	if err == nil {
		return 0, nil
	}
	out := explain(ctx, err)
	switch {
	case out.silent:
	case r.forced:
		err = errors.Join(err, out.tellForced(req.Stderr, err))
		out.exit = exitFailure
	default:
		err = errors.Join(err, console.Failure(req.Stderr, out.text))
	}
	if !out.ours {
		err = nil
	}
	return out.exit, err
}

func (r *Runner) dispatch(ctx context.Context, cmd command.Command, req Request) error {
	switch cmd.Name {
	case command.Discover:
		return r.discover(ctx, req)
	case command.LFSAuthenticate:
		return r.lfsAuthenticate(ctx, cmd, req)
	case command.PersonalToken:
		return r.personalToken(ctx, cmd, req)
	case command.RecoveryCodes:
		return r.recoveryCodes(ctx, req)
	case command.VerifyOTP:
		return r.verifyOTP(ctx, req)
	default:
		return r.git(ctx, cmd, req)
	}
}
