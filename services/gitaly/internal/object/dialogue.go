package object

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Starter is the part of gitcmd.Factory that writing objects needs.
type Starter interface {
	Start(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Process, error)
}

// dialogue is a git that answers each question before the next one, over its pipes.
type dialogue struct {
	proc *gitcmd.Process
	in   *os.File
	out  *os.File
	buf  *bufio.Reader
	end  func() error // closes the pipes and waits for git, once
}

// converse starts git; end must be called.
func converse(ctx context.Context, git Starter, repo *gitcmd.Repo, spec gitcmd.Spec) (_ *dialogue, err error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", spec.Name, err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", spec.Name, err), childIn.Close(), in.Close())
	}
	spec.Stdin, spec.Stdout = childIn, childOut
	proc, err := git.Start(ctx, repo, spec)
	closeErr := errors.Join(childIn.Close(), childOut.Close()) // git has its own
	if err != nil {
		return nil, errors.Join(err, closeErr, in.Close(), out.Close())
	}
	end := sync.OnceValue(func() error {
		return errors.Join(in.Close(), out.Close(), proc.Wait())
	})
	return &dialogue{proc: proc, in: in, out: out, buf: bufio.NewReaderSize(out, 32<<10), end: end}, nil
}

// oid asks for an object to be written and reads its id. If git has ended instead,
// the error says why.
func (d *dialogue) oid(question string) (string, error) {
	_, err := io.WriteString(d.in, question)
	var line string
	if err == nil {
		line, err = d.buf.ReadString('\n')
	}
	if err != nil {
		return "", errors.Join(d.end(), err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}
