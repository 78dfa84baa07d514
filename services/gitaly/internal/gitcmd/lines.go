package gitcmd

import (
	"bytes"
	"context"
	"errors"
)

// ErrStop ends Lines early and without an error.
var ErrStop = errors.New("enough lines")

// maxLine bounds one line of output.
const maxLine = 1 << 20

// Lines runs git and calls each for every line of its output, without the line
// break. The line is valid during the call only. An error of each ends git and is
// returned.
func (f *Factory) Lines(ctx context.Context, repo *Repo, s Spec, each func(line []byte) error) error {
	w := &lineWriter{each: each}
	s.Stdout = w
	err := f.Run(ctx, repo, s)
	if errors.Is(err, ErrStop) {
		return nil
	}
	if err == nil && len(w.rest) > 0 {
		err = each(w.rest)
	}
	if errors.Is(err, ErrStop) {
		return nil
	}
	return err
}

type lineWriter struct {
	each func([]byte) error
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, after, found := bytes.Cut(p, []byte("\n"))
		if !found {
			if len(w.rest)+len(p) > maxLine {
				return 0, ErrTooLong
			}
			w.rest = append(w.rest, p...)
			return n, nil
		}
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		if err := w.each(line); err != nil {
			return 0, err
		}
		p = after
	}
}
