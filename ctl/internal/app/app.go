// Package app is the command line of gitsplit: it takes the words apart, wires the
// other packages by hand, and turns their errors into messages and exit codes.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"gitsplit/ctl/internal/home"
	"gitsplit/ctl/internal/settings"
)

// Version is what `gitsplit version` prints. The build sets it.
var Version = "dev"

// System is what the program gets from its surroundings.
type System struct {
	// LookupEnv and Environ read the environment.
	LookupEnv func(string) (string, bool)
	Environ   []string
	// Stdin is for commands that are given a passphrase or a password there.
	Stdin io.Reader
	// Stdout gets what was asked for, Stderr messages and logs.
	Stdout, Stderr io.Writer
	// Exec makes this process another program; it returns only when that fails.
	Exec func(path string, args, env []string) error
	// Colour paints the messages on Stderr.
	Colour bool
	// Bin is the directory of our own programs.
	Bin string
	// Signals begins to catch requests to stop: the first asks, the second insists.
	Signals func() <-chan os.Signal
}

const usage = `gitsplit runs a whole gitsplit on this host.

usage: gitsplit <command>

  up           start everything and keep it running until Ctrl-C
  init         make the home with its secrets, host keys and configuration only
  status       show the processes of a running gitsplit and their memory
  credentials  print addresses, the password of root, and a first push to paste
  doctor       check every hop, and tell what to do; --json for programs,
               --reconcile records pushes whose references moved without a trace
  admin        accounts, tokens, keys, projects, jobs: gitsplit admin help
  storage      storages: list, add, weight (short for gitsplit admin storage)
  project      projects: list, move, delete (short for gitsplit admin project)
  provision    make what the containers of deploy/docker-compose.yml need
  configure    the same in a container whose secrets are in $GITSPLIT_SECRETS
  backup       write everything into one archive: gitsplit backup help
  restore      make an installation of an archive, while gitsplit does not run
  version      print the version
  help         print this

settings (environment variables)

  GITSPLIT_HOME           where everything is kept         .gitsplit
  GITSPLIT_HTTP_PORT      port of web, API and Git         8080
  GITSPLIT_HTTPS_PORT     the same over HTTPS              8443
  GITSPLIT_SSH_PORT       port of Git over SSH             2222
  GITSPLIT_BIND           address of all                   127.0.0.1
  EXTERNAL_URL            the public address               http://localhost:8080
  GITSPLIT_ROOT_PASSWORD  root's password at first start   random
  GITSPLIT_VERBOSE        1 shows every log line           0
  GITSPLIT_TLS_CERT, _KEY certificate of HTTPS, PEM        made by workhorse
  GITSPLIT_ACME_EMAIL     contact, for a public one
  GITSPLIT_CONFIG         where rails-api.yml is, when     config/ in the home
                          somebody else runs the services
`

// Errors that only set the exit code; what there is to say has been said.
var (
	errUsage    = errors.New("usage")
	errNotReady = errors.New("not ready")
)

// Main runs the command that args name and returns the exit code: 0, 1 for a
// failure or, with status, for an answer other than "all is ready", 2 for a wrong
// command line.
func Main(ctx context.Context, args []string, sys System) int {
	err := run(ctx, args, sys)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case errors.Is(err, errNotReady):
		return 1
	}
	_, _ = fmt.Fprintf(sys.Stderr, "gitsplit: %v\n", err)
	return 1
}

func run(ctx context.Context, args []string, sys System) error {
	if len(args) > 1 && operations()[args[0]] {
		return operate(ctx, sys, args)
	}
	if len(args) == 2 && args[0] == "doctor" && args[1] == "--json" {
		return examine(ctx, sys, true)
	}
	if len(args) == 2 && args[0] == "doctor" && args[1] == "--reconcile" {
		return operate(ctx, sys, []string{"reconcile"})
	}
	if len(args) != 1 {
		_, _ = io.WriteString(sys.Stderr, usage)
		return errUsage
	}
	switch args[0] {
	case "up":
		return up(ctx, sys)
	case "init":
		return initialize(ctx, sys)
	case "status":
		return showStatus(sys)
	case "credentials":
		return credentials(sys)
	case "provision":
		return provision(sys)
	case "configure":
		return configure(sys)
	case "doctor":
		return examine(ctx, sys, false)
	case "admin", "backup", "restore":
		return operate(ctx, sys, args)
	case "version", "--version", "-version":
		_, err := fmt.Fprintf(sys.Stdout, "gitsplit %s\n", Version)
		return err
	case "help", "--help", "-help", "-h":
		_, err := io.WriteString(sys.Stdout, usage)
		return err
	}
	_, _ = fmt.Fprintf(sys.Stderr, "gitsplit: unknown command %q\n\n%s", args[0], usage)
	return errUsage
}

// load reads the settings and finds the home they name.
func load(sys System) (settings.Settings, home.Home, error) {
	s, err := settings.Load(sys.LookupEnv)
	h, homeErr := home.Resolve(s.Home)
	return s, h, errors.Join(err, homeErr)
}
