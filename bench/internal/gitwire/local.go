package gitwire

import (
	"context"
	"io"
	"os"
	"os/exec"
)

// Local is a git process on this machine, as a Pipe.
type Local struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.Reader
}

// Start starts `git upload-pack` or `git receive-pack` in a repository.
func Start(ctx context.Context, argv ...string) (*Local, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // git, or our meter around it
	cmd.Env = append(os.Environ(), "GIT_PROTOCOL=version=2", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &Local{cmd: cmd, in: in, out: out}, cmd.Start()
}

func (l *Local) Read(b []byte) (int, error)  { return l.out.Read(b) }
func (l *Local) Write(b []byte) (int, error) { return l.in.Write(b) }

// CloseWrite ends the process's input.
func (l *Local) CloseWrite() error { return l.in.Close() }

// Wait returns when the process has ended.
func (l *Local) Wait() error { return l.cmd.Wait() }
