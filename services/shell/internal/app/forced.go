package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/services/shell/internal/session"
)

// Names of the programs for sites that keep OpenSSH (wire/gitlab-shell.md §1).
const (
	ShellProgram           = "gitlab-shell"
	KeysCheckProgram       = "gitlab-shell-authorized-keys-check"
	PrincipalsCheckProgram = "gitlab-shell-authorized-principals-check"
	CheckProgram           = "gitlab-shell-check"
)

// rootVariable names the directory of config.yml, in place of the parent of the
// directory that the program is in.
const rootVariable = "GITLAB_SHELL_DIR"

// Process is what a program gets from the system.
type Process struct {
	Args       []string // without the program's name
	LookupEnv  func(string) (string, bool)
	Executable func() (string, error)
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer
}

// System is the process that runs.
func System() Process {
	return Process{Args: os.Args[1:], LookupEnv: os.LookupEnv, Executable: os.Executable, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
}

func (p Process) env(name string) string {
	value, _ := p.LookupEnv(name)
	return value
}

// say writes a line to the person or program that waits for it, who may be gone.
func say(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }

// saidVersion answers -version.
func (p Process) saidVersion(program string) bool {
	if len(p.Args) != 1 || p.Args[0] != "-version" {
		return false
	}
	v, built := version()
	say(p.Stdout, "%s %s-%s", program, v, built)
	return true
}

// root returns the directory that holds config.yml and, below bin, the programs.
func (p Process) root() (string, error) {
	dir := p.env(rootVariable)
	if dir == "" {
		file, err := p.Executable()
		if err != nil {
			return "", err
		}
		dir = filepath.Dir(filepath.Dir(file))
	}
	info, err := os.Stat(dir) //nolint:gosec // the operator names the directory
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is no directory", dir)
	}
	return dir, err
}

// shellLog opens the log. The terminal belongs to the user: without a file there is
// no log.
func (c *Config) shellLog(program, root string) (*slog.Logger, func(), error) {
	if c.LogFile == "" {
		c.LogFile = filepath.Join(root, "gitlab-shell.log")
	}
	w, closeLog := c.logFile(io.Discard)
	log, err := c.logger(program, w)
	return log, closeLog, err
}

// Shell is gitlab-shell: the command that OpenSSH runs in place of what a user asks
// for. It returns the exit status (wire/gitlab-shell.md §5).
func Shell(ctx context.Context, p Process) int {
	if p.saidVersion(ShellProgram) {
		return 0
	}
	root, err := p.root()
	if err != nil {
		say(p.Stderr, "Failed to determine executable, exiting")
		return 1
	}
	conf, err := load(root, p.LookupEnv)
	if err != nil {
		say(p.Stderr, "Failed to read config, exiting: %v", err)
		return 1
	}
	if p.env("SSH_CONNECTION") == "" {
		say(p.Stderr, "Only SSH allowed")
		return 1
	}
	log, closeLog, err := conf.shellLog(ShellProgram, root)
	if err != nil {
		say(p.Stderr, "Failed to read config, exiting: %v", err)
		return 1
	}
	defer closeLog()
	signal.Ignore(syscall.SIGPIPE) // a write to a user who has gone fails, and that is logged
	api, err := newAPI(conf, nil)
	if err != nil {
		say(p.Stderr, "Failed to read config, exiting: %v", err)
		return 1
	}
	defer api.Close()
	gitaly := pools(ShellProgram, log)
	defer func() {
		for _, pool := range gitaly {
			_ = pool.Close() // the process ends
		}
	}()
	return p.session(ctx, log, session.New(session.Deps{
		API: api, Gitaly: connections(gitaly), CountRelay: func(bool) {}, Tokens: conf.tokens(), ForcedCommand: true, Now: time.Now,
	}))
}

// session runs the one command of this process and logs it.
func (p Process) session(ctx context.Context, log *slog.Logger, runner *session.Runner) int {
	started := time.Now()
	if id := p.env("CORRELATION_ID"); correlation.Valid(id) {
		ctx = correlation.With(ctx, id)
	}
	ctx = correlation.EnsureID(ctx)
	ctx, facts := logging.WithEvent(ctx)
	ip, _, _ := strings.Cut(p.env("SSH_CONNECTION"), " ")
	who := identityOf(p.Args)
	exit, err := runner.Run(ctx, session.Request{
		Identity: who, RemoteAddr: ip, Line: p.env("SSH_ORIGINAL_COMMAND"), GitProtocol: p.env("GIT_PROTOCOL"),
		Stdin: p.Stdin, Stdout: p.Stdout, Stderr: p.Stderr,
	})
	if err != nil {
		log.WarnContext(ctx, "session error", slog.Any(logging.KeyError, err))
	}
	logging.Access(ctx, log, started, append(facts(),
		slog.Int(logging.KeyExitStatus, exit),
		slog.String("key_id", strconv.FormatInt(who.KeyID, 10)),
		slog.String("certificate_username", who.Username),
		slog.String(logging.KeyRemoteAddr, ip))...)
	return exit
}

var (
	keyWord  = regexp.MustCompile(`^key-([0-9]{1,18})$`)
	nameWord = regexp.MustCompile(`^username-(\S+)$`)
)

// identityOf reads who logged in from what the authorized_keys line says: the last
// word of an argument is key-7 or username-ada. sshd with a shell gives the line as
// one argument behind -c. Nobody is an identity too.
func identityOf(args []string) session.Identity {
	for _, arg := range args {
		words := strings.Fields(arg)
		if len(words) == 0 {
			continue
		}
		last := words[len(words)-1]
		if m := keyWord.FindStringSubmatch(last); m != nil {
			id, err := strconv.ParseInt(m[1], 10, 64)
			if err == nil && id > 0 {
				return session.Identity{KeyID: id}
			}
		}
		if m := nameWord.FindStringSubmatch(last); m != nil {
			return session.Identity{Username: m[1]}
		}
	}
	return session.Identity{}
}
