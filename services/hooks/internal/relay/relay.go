// Package relay carries one git hook to gitaly and back (wire/gitaly.md §6): the
// environment and stdin go there, stdout, stderr and the exit status come back.
//
// git starts this for every hook of every push, and for every pack that it sends, so a
// start must take a few milliseconds: mind what is imported.
package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gitsplit/kit/fault"
	"gitsplit/kit/hookpayload/plain"
	"gitsplit/services/hooks/internal/call"
)

// Streams are the process's own.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// failure is what the user sees when a hook could not do its work.
const failure = "error executing git hook"

// hooks are the names that git calls us by.
var hooks = map[string]plain.Hook{ //nolint:gochecknoglobals // a constant
	"pre-receive":           plain.PreReceive,
	"update":                plain.Update,
	"post-receive":          plain.PostReceive,
	"reference-transaction": plain.ReferenceTransaction,
	packObjects:             plain.PackObjects,
}

// packObjects is the name of the program itself: upload-pack runs "gitaly-hooks git
// pack-objects …" in place of git.
const packObjects = "gitaly-hooks"

// errExhausted follows when it is worth trying again (wire/gitaly.md §6.7).
var errExhausted = errors.New("error resource exhausted, please try again later")

// errUsage is a command line that git does not use.
var errUsage = errors.New("subcommand name invalid")

// Main is the whole program; it returns the exit status. args[0] says which hook
// it is.
func Main(ctx context.Context, args, environ []string, s Streams) int {
	name := filepath.Base(args[0])
	bit, ok := hooks[name]
	if !ok {
		return fail(s, fmt.Errorf("%w: %q", errUsage, name))
	}
	payload, repo, err := decode(environ)
	if err != nil {
		return fail(s, fmt.Errorf("error when getting hooks payload: %w", err))
	}
	if !payload.Has(bit) || skip(name, args[1:]) {
		return 0
	}
	if fault.Enabled {
		points := map[string]string{"pre-receive": fault.AfterPack, "update": fault.BeforeRef, "post-receive": fault.AfterRefs}
		if point, ok := points[name]; ok {
			fault.Point(ctx, point, repo.GLRepository)
		}
	}
	c := &client{payload: payload, repository: repo, environ: environ}
	code, err := c.run(ctx, name, args[1:], s)
	if errors.Is(err, errUsage) {
		return fail(s, err)
	}
	if err != nil {
		code := fail(s, errors.New(failure))
		if st := (*call.Status)(nil); errors.As(err, &st) && st.Code == call.ResourceExhausted {
			return fail(s, errExhausted)
		}
		return code
	}
	return int(code)
}

func decode(environ []string) (plain.Payload, plain.Repository, error) {
	p, err := plain.FromEnv(environ)
	if err != nil {
		return p, plain.Repository{}, err
	}
	repo, err := p.RepositoryMessage()
	return p, repo, err
}

// skip reports whether a hook has nothing to tell gitaly.
func skip(name string, args []string) bool {
	return name == "reference-transaction" && len(args) == 1 && args[0] == "preparing"
}

func fail(s Streams, err error) int {
	_, _ = fmt.Fprintln(s.Stderr, err)
	return 1
}
