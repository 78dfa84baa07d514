package gitcmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Reader is the output of a running git, read at the caller's pace. It is not safe for
// concurrent use.
type Reader struct {
	out    *os.File
	proc   *Process
	cancel context.CancelFunc
	err    error // how git ended, once it has
	ended  bool
}

// Reader starts git. Close must be called.
func (f *Factory) Reader(ctx context.Context, repo *Repo, s Spec) (*Reader, error) {
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", s.Name, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s.Stdout = childOut
	proc, err := f.Start(ctx, repo, s)
	closeErr := childOut.Close() // git has its own
	if err != nil {
		cancel()
		return nil, errors.Join(err, closeErr, out.Close())
	}
	return &Reader{out: out, proc: proc, cancel: cancel}, nil
}

// Read reads the output. At its end it waits for git and returns io.EOF only if git
// succeeded; else the failure, as Process.Wait does.
func (r *Reader) Read(p []byte) (int, error) {
	if r.ended {
		return 0, r.result()
	}
	n, err := r.out.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	r.err, r.ended = r.proc.Wait(), true
	return n, r.result()
}

func (r *Reader) result() error {
	if r.err != nil {
		return r.err
	}
	return io.EOF
}

// Close ends git if it has more to say, and waits for it.
func (r *Reader) Close() error {
	err := r.out.Close()
	r.cancel()
	if !r.ended {
		_ = r.proc.Wait() // nobody wants to know any more
		r.ended, r.err = true, os.ErrClosed
	}
	return err
}
