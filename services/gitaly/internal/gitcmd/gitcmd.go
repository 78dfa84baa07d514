// Package gitcmd is the only package that starts git. It holds the table of the
// sub-commands that may run, the configuration and the environment each gets
// (wire/gitaly.md §8, security-baseline.md §3), and refuses everything else.
//
// Nothing of a repository's own configuration, of the machine's configuration or
// of a client's environment can make git run another program.
package gitcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/services/gitaly/internal/process"
)

// Repo is where git works.
type Repo struct {
	Name       string   // storage and path, as the protocol names it
	Dir        string   // the repository's directory, absolute
	ObjectDir  string   // quarantine, absolute; "" for the repository's own objects
	Alternates []string // object directories read besides ObjectDir, absolute
}

// Config is one -c setting.
type Config struct{ Key, Value string }

// Spec is one run of git.
type Spec struct {
	Name    string   // the sub-command
	Flags   []string // as the table permits
	Args    []string // revisions, patterns or directories; none begins with "-"
	Paths   []string // literal paths inside the repository, passed after "--"
	Exclude []string // literal paths to leave out of Paths, or of everything

	Config []Config // from the request, checked by ParseConfig
	// IgnoreShallow makes git forget the repository's own shallow file: pack-objects is
	// told of the client's commits without parents instead.
	IgnoreShallow bool
	// Secrets are settings that nobody may see in the arguments or the environment
	// of git, such as headers with passwords.
	Secrets []Config
	Files   []*os.File // inherited by git; the first is descriptor 3
	Env     []string   // GIT_PROTOCOL and variables of ours
	// HooksPath and the payload in Env make ref updates call our hooks. A
	// sub-command that may update refs starts only with HooksPath or NoHooks.
	HooksPath string
	NoHooks   bool
	// Background leaves the machine to others where they want it.
	Background bool

	Stdin          io.Reader // as in process.Options
	Stdout, Stderr io.Writer
}

// Traces is what a killed process leaves in a repository.
type Traces int

// From nothing to everything.
const (
	NoTraces   Traces = iota
	PackTraces        // unfinished objects and packs, locks of the indexes of packs and of commits
	RefTraces         // quarantines and locks of references, and all of the above
)

// Guard is told about every process that may leave traces behind.
type Guard interface {
	// Enter registers a writer; leave is called when its whole group is dead,
	// with whether it ended by itself.
	Enter(repoDir string, traces Traces) (leave func(clean bool))
}

// Observer is told about every process, for metrics.
type Observer interface {
	// Started is told how long the start took; ended, what the process has used.
	Started(ctx context.Context, subcommand string, took time.Duration) (ended func(process.Usage))
}

// Options is what a Factory needs.
type Options struct {
	Path        string // git's file; "" looks git up
	SearchPath  string // PATH of the children
	Home        string // an empty directory
	PackThreads int
	Admin       []Config // the operator's settings; they win
	Grace       time.Duration
	Guard       Guard    // may be nil
	Observer    Observer // may be nil
	Bounds      Bounds
	CatFiles    *CatFiles // keeps cat-file processes; may be nil
}

// Factory starts git.
type Factory struct {
	o       Options
	version Version
	ooms    *oomWatch
}

// New finds git and asks its version. Versions before MinVersion are refused.
func New(ctx context.Context, o Options) (*Factory, error) {
	path, err := exec.LookPath(o.pathOrDefault())
	if err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	if o.Path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("find git: %w", err)
	}
	f := &Factory{o: o, ooms: newOOMWatch("/proc/vmstat")}
	var out strings.Builder
	if err := f.Run(ctx, nil, Spec{Name: "version", Stdout: &out}); err != nil {
		return nil, err
	}
	if f.version, err = ParseVersion(out.String()); err != nil {
		return nil, err
	}
	if !f.version.AtLeast(MinVersion) {
		return nil, fmt.Errorf("git %s is too old: need %s or newer", f.version, MinVersion)
	}
	return f, nil
}

func (o Options) pathOrDefault() string {
	if o.Path == "" {
		return "git"
	}
	return o.Path
}

// Version returns git's version.
func (f *Factory) Version() Version { return f.version }

// BinDir returns the directory of git's file.
func (f *Factory) BinDir() string { return filepath.Dir(f.o.Path) }

// ForgetRepo ends what is kept for the repository in dir, and for any below it: to be
// called when one was removed, moved or replaced.
func (f *Factory) ForgetRepo(dir string) { f.o.CatFiles.forget(dir) }

// Process is a running git.
type Process struct {
	factory *Factory
	proc    *process.Process
	name    string
	begin   time.Time
	stderr  *tail
	leave   func(clean bool)
	ended   func(process.Usage) // nil without an observer
}

// Start starts git; repo is nil for the few sub-commands without one. Wait must
// be called.
func (f *Factory) Start(ctx context.Context, repo *Repo, s Spec) (*Process, error) {
	if len(s.Secrets) > 0 {
		file, err := s.hideSecrets()
		if err != nil {
			return nil, fmt.Errorf("git %s: %w", s.Name, err)
		}
		defer func() { _ = file.Close() }() // git has its own
	}
	args, err := f.arguments(repo, s)
	if err != nil {
		return nil, err
	}
	p := &Process{factory: f, name: s.Name, begin: time.Now(), stderr: &tail{next: s.Stderr}}
	o := process.Options{
		Path: f.o.Path, Args: args, Env: f.environment(ctx, repo, s), Dir: f.o.Home, Grace: f.o.Grace,
		Stdin: s.Stdin, Stdout: s.Stdout, Stderr: p.stderr, Files: s.Files,
		Background: s.Background,
	}
	if err := f.bound(&o, repo, s); err != nil {
		return nil, err
	}
	p.leave = f.enter(repo, s.Name)
	if p.proc, err = process.Start(ctx, o); err != nil {
		p.leave(true)
		return nil, fmt.Errorf("git %s: %w", s.Name, err)
	}
	if f.o.Observer != nil {
		p.ended = f.o.Observer.Started(ctx, s.Name, time.Since(p.begin))
	}
	return p, nil
}

// enter tells the guard, and returns what tells it the end.
func (f *Factory) enter(repo *Repo, name string) func(clean bool) {
	if traces := subcommands[name].leaves(); f.o.Guard != nil && repo != nil && traces != NoTraces {
		return f.o.Guard.Enter(repo.Dir, traces)
	}
	return func(bool) {}
}

// Wait waits for the end of git and all its children. A failure is an *Error, which
// an errs.Exhausted wraps if one of its bounds ended git, or the context's error.
func (p *Process) Wait() error {
	err := p.proc.Wait()
	p.leave(err == nil || !process.Signalled(err) && !subcommands[p.name].litters)
	if p.ended != nil {
		p.ended(p.proc.Usage())
	}
	var exit *exec.ExitError
	if err == nil || !errors.As(err, &exit) {
		return err
	}
	return p.factory.shortage(&Error{Command: p.name, Code: process.ExitCode(err), Stderr: p.stderr.String(), Err: err}, p.begin)
}

// Run starts git and waits for it.
func (f *Factory) Run(ctx context.Context, repo *Repo, s Spec) error {
	p, err := f.Start(ctx, repo, s)
	if err != nil {
		return err
	}
	return p.Wait()
}

// Output runs git and returns its output, which must not exceed limit bytes. If git
// fails, that is what it had printed.
func (f *Factory) Output(ctx context.Context, repo *Repo, s Spec, limit int) ([]byte, error) {
	buf := &bounded{limit: limit}
	s.Stdout = buf
	err := f.Run(ctx, repo, s)
	return buf.data, err
}

// Error says how git failed.
type Error struct {
	Command string
	Code    int
	Stderr  string // the last kilobytes of it
	Err     error
}

// Error names the command, the exit and what git said.
func (e *Error) Error() string {
	return fmt.Sprintf("git %s: %v, stderr: %q", e.Command, e.Err, e.Stderr)
}

// Unwrap returns the exit error, and the context's if it ended the process.
func (e *Error) Unwrap() error { return e.Err }

// Exited reports whether git itself ended with one of the codes, and not because a
// bound ended it: then the code is no answer.
func Exited(err error, codes ...int) bool {
	var e *Error
	if !errors.As(err, &e) || Short(err) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

// Failed reports whether git itself ended with an error, rather than by a signal.
func Failed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code <= 128
}

func (f *Factory) environment(ctx context.Context, repo *Repo, s Spec) []string {
	env := []string{
		"PATH=" + f.o.SearchPath, "HOME=" + f.o.Home, "LANG=C.UTF-8", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull,
		"XDG_CONFIG_HOME=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
	if repo == nil { // nothing is discovered in the directories above
		env = append(env, "GIT_CEILING_DIRECTORIES="+filepath.Dir(f.o.Home))
	}
	if id := correlation.ID(ctx); id != "" {
		env = append(env, correlation.EnvKey+"="+id)
	}
	if repo != nil && repo.ObjectDir != "" {
		env = append(env, "GIT_OBJECT_DIRECTORY="+repo.ObjectDir,
			"GIT_ALTERNATE_OBJECT_DIRECTORIES="+strings.Join(repo.Alternates, ":"))
	}
	return append(env, s.Env...)
}
