package process

import (
	"errors"
	"fmt"
	"io"
	"os"

	"gitsplit/kit/pktline"
)

// bufferSize is large enough to take what a pipe holds in one read.
const bufferSize = 64 << 10

// connect opens the pipes and returns what must run once the program does.
func (p *Process) connect(pipes *pipeSet, o Options) ([]func(), error) {
	var run []func()
	if o.Stdin != nil {
		if f, ok := o.Stdin.(*os.File); ok {
			p.cmd.Stdin = f
		} else {
			r, w, err := os.Pipe()
			if err != nil {
				return nil, fmt.Errorf("open stdin: %w", err)
			}
			pipes.child, pipes.ours = append(pipes.child, r), append(pipes.ours, w)
			p.cmd.Stdin = r
			run = append(run, func() { go feed(w, o.Stdin) })
		}
	}
	stdout, f, err := p.output(pipes, o.Stdout)
	if err != nil {
		return nil, err
	}
	stderr, g, err := p.output(pipes, o.Stderr)
	if err != nil {
		return nil, err
	}
	if stdout != nil {
		p.cmd.Stdout, run = stdout, append(run, f)
	}
	if stderr != nil {
		p.cmd.Stderr, run = stderr, append(run, g)
	}
	return run, nil
}

// feed copies the input. It is not waited for: git may end without reading all
// of it, and then src returns only when the RPC has ended.
func feed(w *os.File, src io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{src}, make([]byte, bufferSize))
	_ = w.Close() // a broken pipe is the program's choice
}

func (p *Process) output(pipes *pipeSet, dst io.Writer) (*os.File, func(), error) {
	if dst == nil {
		return nil, nil, nil
	}
	if f, ok := dst.(*os.File); ok {
		return f, func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("open output: %w", err)
	}
	pipes.child, pipes.ours = append(pipes.child, w), append(pipes.ours, r)
	return w, func() { p.copies.Go(func() { p.drain(dst, r) }) }, nil
}

// drain copies one output. If nobody takes it any more the program is ended.
func (p *Process) drain(dst io.Writer, r *os.File) {
	defer func() { _ = r.Close() }()
	err := copyOutput(dst, r)
	if err == nil || errors.Is(err, os.ErrClosed) {
		return
	}
	p.mu.Lock()
	if p.copyErr == nil {
		p.copyErr = fmt.Errorf("write output: %w", err)
	}
	p.mu.Unlock()
	go p.terminate()
	_, _ = io.Copy(io.Discard, r) // until it has ended
}

// copyOutput leaves the reading to a writer that has a buffer of its own: one that makes
// packets. Those are better large.
func copyOutput(dst io.Writer, r *os.File) error {
	if packets, ok := dst.(*pktline.Writer); ok {
		_, err := packets.ReadFrom(newGatherer(r))
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{r}, make([]byte, bufferSize))
	return err
}
