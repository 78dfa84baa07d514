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
	"strings"
	"sync/atomic"
	"time"

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
}

// runCustom runs the site's hooks in the order of wire/gitaly.md §6.6; the first
// that fails ends the push with its exit code.
func (m *Manager) runCustom(ctx context.Context, c Call, run custom) error {
	files, err := m.customFiles(c.Repo.Dir, run.name)
	if err != nil || len(files) == 0 {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, run.timeout)
	defer cancel()
	env := m.customEnv(c)
	out := &budget{left: maxOutput}
	for _, file := range files {
		err := m.runFile(ctx, file, env, c.Repo.Dir, run, out)
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
	p, err := process.Start(ctx, process.Options{
		Path: file, Args: run.args, Env: env, Dir: dir, Grace: time.Second, Stdin: bytes.NewReader(run.stdin),
		Stdout: &cleaner{out, run.stdout}, Stderr: &cleaner{out, run.stderr},
	})
	if err != nil {
		return err
	}
	return p.Wait()
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

// cleaner passes text on without control characters, up to the budget; the rest
// is read and dropped, so that a talkative hook does not hang.
type cleaner struct {
	budget *budget
	w      io.Writer
}

func (c *cleaner) Write(p []byte) (int, error) {
	if atomic.AddInt64(&c.budget.left, -int64(len(p))) < 0 {
		return len(p), nil
	}
	if _, err := io.WriteString(c.w, Printable(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}
