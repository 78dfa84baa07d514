// Package trace counts the programs that a process and its children start, with
// strace(1), and says which.
package trace

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Trace is a running strace.
type Trace struct {
	cmd  *exec.Cmd
	file string
}

// Attach begins to trace the processes, and what they start. Call Stop.
func Attach(ctx context.Context, file string, pids ...int) (*Trace, error) {
	args := []string{"--follow-forks", "--trace=execve", "--signal=none", "--string-limit=400", "--output=" + file}
	for _, pid := range pids {
		args = append(args, fmt.Sprintf("--attach=%d", pid))
	}
	cmd := exec.CommandContext(ctx, "strace", args...) //nolint:gosec // strace
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	said, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(said)
	for range pids { // it says so when it has all threads of one
		if !lines.Scan() || !strings.Contains(lines.Text(), "attached") {
			return nil, errors.Join(fmt.Errorf("strace: %s", lines.Text()), cmd.Process.Kill(), cmd.Wait())
		}
	}
	go func() { _, _ = io.Copy(io.Discard, said) }()
	return &Trace{cmd: cmd, file: file}, nil
}

// Stop ends the trace and returns the programs that were started.
func (t *Trace) Stop() ([]string, error) {
	if err := t.cmd.Process.Signal(os.Interrupt); err != nil {
		return nil, err
	}
	end := time.AfterFunc(10*time.Second, func() { _ = t.cmd.Process.Kill() })
	_ = t.cmd.Wait() // it ends by our signal
	end.Stop()
	raw, err := os.ReadFile(t.file)
	if err != nil {
		return nil, err
	}
	return Programs(string(raw)), nil
}

// call is a line of a successful execve, whole or resumed after others.
var (
	call    = regexp.MustCompile(`^(\d+)\s+execve\("([^"]*)", \[(.*?)\], .*\) = 0$`)
	begun   = regexp.MustCompile(`^(\d+)\s+execve\("([^"]*)", \[(.*?)\], .*<unfinished \.\.\.>$`)
	resumed = regexp.MustCompile(`^(\d+)\s+<\.\.\. execve resumed>\)\s+= 0$`)
)

// Programs reads what strace wrote: one entry per program that was started, by its
// name and, for git, its sub-command, in order.
func Programs(text string) []string {
	var out []string
	waiting := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if m := call.FindStringSubmatch(line); m != nil {
			out = append(out, name(m[2], m[3]))
		} else if m := begun.FindStringSubmatch(line); m != nil {
			waiting[m[1]] = name(m[2], m[3])
		} else if m := resumed.FindStringSubmatch(line); m != nil && waiting[m[1]] != "" {
			out = append(out, waiting[m[1]])
			delete(waiting, m[1])
		}
	}
	return out
}

// name tells git's sub-commands apart: the first argument that is no option.
func name(path, args string) string {
	base := filepath.Base(path)
	if base != "git" {
		return base
	}
	words := strings.Split(args, ", ")
	for i := 1; i < len(words); i++ {
		word := strings.Trim(words[i], `"`)
		if word == "-c" || word == "-C" || word == "--git-dir" {
			i++
		} else if !strings.HasPrefix(word, "-") {
			return "git " + word
		}
	}
	return base
}

// Count sums up programs by name, as "2 gitaly-hooks, 1 git rev-list".
func Count(programs []string) string {
	n := map[string]int{}
	for _, p := range programs {
		n[p]++
	}
	var out []string
	for p, k := range n {
		out = append(out, fmt.Sprintf("%d %s", k, p))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
