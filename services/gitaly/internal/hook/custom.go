package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"gitsplit/services/gitaly/internal/process"
)

// maxOutput is what a custom hook may print (security-baseline.md R5).
const maxOutput = 1 << 20

// custom is one kind of custom hook to run.
type custom struct {
	name           string
	args           []string
	stdin          []byte
	stdout, stderr io.Writer
	timeout        time.Duration
	group          *process.Cgroup // that of the repository; nil without
}

// runCustom runs the site's hooks in the order of wire/gitaly.md §6.6; the first
// that fails ends the push with its exit code.
func (m *Manager) runCustom(ctx context.Context, c Call, run custom) error {
	files, err := m.customFiles(c.Repo.Dir, run.name)
	if err != nil || len(files) == 0 {
		return err
	}
	if m.o.Place != nil {
		if run.group, err = m.o.Place(c.Repo.Name); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, run.timeout)
	defer cancel()
	env := m.customEnv(c)
	out := &budget{left: maxOutput}
	for _, file := range files {
		err := m.runFile(ctx, file, env, c.Repo.Dir, run, out)
		if errors.Is(err, context.Canceled) {
			return err // the push is over: nobody was refused
		}
		if errors.Is(err, context.DeadlineExceeded) {
			text := fmt.Sprintf("custom hook %q took longer than %v", filepath.Base(file), run.timeout)
			m.o.Log.WarnContext(ctx, "custom hook took too long", slog.String("hook", file))
			return &Exit{Code: 1, Stderr: text, Custom: true}
		}
		if code := process.ExitCode(err); code > 0 {
			m.o.Log.InfoContext(ctx, "custom hook refused", slog.String("hook", file), slog.Int("exit_code", code))
			return &Exit{Code: int32(code), Custom: true} //nolint:gosec // at most 255
		}
		if err != nil {
			return fmt.Errorf("custom hook %q: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func (m *Manager) runFile(ctx context.Context, file string, env []string, dir string, run custom, out *budget) error {
	stdout, stderr := &cleaner{budget: out, w: run.stdout}, &cleaner{budget: out, w: run.stderr}
	p, err := start(ctx, process.Options{
		Path: file, Args: run.args, Env: env, Dir: dir, Grace: time.Second, Stdin: bytes.NewReader(run.stdin),
		Stdout: stdout, Stderr: stderr, Memory: m.o.Memory, Cgroup: run.group,
	})
	if err != nil {
		return err
	}
	err = p.Wait()
	return errors.Join(err, stdout.flush(), stderr.flush())
}

// start starts a program that may have been written a moment ago: a child that another
// goroutine forked meanwhile has the file open until it becomes its own program, and
// as long the kernel does not run it.
func start(ctx context.Context, o process.Options) (*process.Process, error) {
	p, err := process.Start(ctx, o)
	for try := 0; errors.Is(err, syscall.ETXTBSY) && try < 50; try++ {
		<-time.After(2 * time.Millisecond)
		p, err = process.Start(ctx, o)
	}
	return p, err
}

// customFiles lists the programs to run.
func (m *Manager) customFiles(repo, name string) ([]string, error) {
	files := executables(filepath.Join(repo, "custom_hooks", name))
	dirs := []string{filepath.Join(repo, "custom_hooks", name+".d")}
	if m.o.CustomDir != "" {
		dirs = append(dirs, filepath.Join(m.o.CustomDir, name+".d"))
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir) // sorted by name
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("read custom hooks: %w", err) // not knowing them is no reason to skip them
		}
		for _, e := range entries {
			files = append(files, executables(filepath.Join(dir, e.Name()))...)
		}
	}
	return files, nil
}

// executables returns path alone if it counts as a hook.
func executables(path string) []string {
	info, err := os.Stat(path)
	if err != nil || info.IsDir() || strings.HasSuffix(path, "~") || unix.Access(path, unix.X_OK) != nil {
		return nil
	}
	return []string{path}
}

// customEnv is built from nothing: what git says about the push and who pushes.
// The payload stays out, for it holds the token of the internal socket.
func (m *Manager) customEnv(c Call) []string {
	env := []string{
		"PATH=" + m.o.GitBinDir + ":" + m.o.SearchPath, "HOME=" + m.o.Home, "LANG=C.UTF-8", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_SYSTEM=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_DIR=" + c.Repo.Dir, "GL_REPOSITORY=" + c.Payload.Repository.GetGlRepository(),
		"GL_PROJECT_PATH=" + c.Payload.Repository.GetGlProjectPath(),
	}
	if u := c.Payload.UserDetails; u != nil {
		env = append(env, "GL_ID="+u.UserID, "GL_USERNAME="+u.Username, "GL_PROTOCOL="+u.Protocol)
	}
	if object, alternates := c.objectDirs(); object != "" {
		env = append(env, "GIT_OBJECT_DIRECTORY="+object, "GIT_ALTERNATE_OBJECT_DIRECTORIES="+strings.Join(alternates, ":"),
			"GIT_QUARANTINE_PATH="+object) // git refuses ref updates that start inside
	}
	env = append(env, fmt.Sprintf("GIT_PUSH_OPTION_COUNT=%d", len(c.Options)))
	for i, o := range c.Options {
		env = append(env, fmt.Sprintf("GIT_PUSH_OPTION_%d=%s", i, o))
	}
	return env
}

// budget is the output that all hooks of a run share.
type budget struct{ left int64 }

// take returns how many of n bytes may be passed on.
func (b *budget) take(n int) int {
	left := atomic.AddInt64(&b.left, -int64(n)) + int64(n)
	return int(max(0, min(left, int64(n))))
}

// cleaner passes text on without control characters, up to the budget; the rest is
// read and dropped, so that a talkative hook does not hang.
type cleaner struct {
	budget *budget
	w      io.Writer
	rest   []byte // the beginning of a character
}

func (c *cleaner) Write(p []byte) (int, error) {
	text := slices.Concat(c.rest, p[:c.budget.take(len(p))])
	whole := len(text) - partial(text)
	c.rest = bytes.Clone(text[whole:])
	if _, err := io.WriteString(c.w, Printable(string(text[:whole]))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush passes on what looked like the beginning of a character until the end.
func (c *cleaner) flush() error {
	_, err := io.WriteString(c.w, Printable(string(c.rest)))
	c.rest = nil
	return err
}

// partial returns how many bytes at the end could become a character with the next.
func partial(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
