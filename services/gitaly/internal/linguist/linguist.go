// Package linguist asks gitaly-linguist which language a file is written in.
//
// GitHub's linguist knows languages by tables that take 16 MiB and 36 ms to set up.
// Few requests need them, so they live in a program of their own, started for those
// requests: package classify is that program, and only it may import the tables. It
// also keeps linguist's regular expressions, which read what anybody pushed, within
// bounds of memory and time that are not gitaly's.
package linguist

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"os"

	"gitsplit/services/gitaly/internal/process"
)

// Rules is the version of linguist whose rules gitaly-linguist follows.
const Rules = "537297cdae3ab05f8d5dd1c03627a5bd73707b19"

// Question is about one file.
type Question struct {
	Path       string
	Attributes map[string]string // gitattributes by name, as git check-attr tells them
	Asked      bool              // Head is what the answer asked for
	Head       []byte            // how the file begins
}

// Answer to a Question: the language, or that the file's beginning is needed to tell.
type Answer struct {
	NeedHead bool
	Language Language // without a name if the file does not count
}

// Language is one that linguist knows.
type Language struct {
	Name  string `json:"name"`
	Color string `json:"color"` // "#rrggbb"
	ID    int64  `json:"id"`    // linguist's
}

// Options says how the program runs.
type Options struct {
	Path   string // the program's file
	Memory int64  // as in process.Options
}

// Program is a running gitaly-linguist. It serves one caller at a time.
type Program struct {
	proc *process.Process
	in   *os.File
	out  *os.File
	enc  *gob.Encoder
	dec  *gob.Decoder
}

// Start starts the program, which ends with ctx. Close must be called.
func Start(ctx context.Context, o Options) (*Program, error) {
	itsIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start gitaly-linguist: %w", err)
	}
	out, itsOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start gitaly-linguist: %w", err), itsIn.Close(), in.Close())
	}
	proc, err := process.Start(ctx, process.Options{Path: o.Path, Dir: "/", Memory: o.Memory, Stdin: itsIn, Stdout: itsOut})
	closeErr := errors.Join(itsIn.Close(), itsOut.Close()) // the program has its own
	if err != nil {
		return nil, errors.Join(err, closeErr, in.Close(), out.Close())
	}
	return &Program{proc: proc, in: in, out: out, enc: gob.NewEncoder(in), dec: gob.NewDecoder(out)}, nil
}

// Language tells the language of a file; head is called if its beginning is needed.
func (p *Program) Language(q Question, head func() ([]byte, error)) (Language, error) {
	answer, err := p.ask(q)
	if err != nil || !answer.NeedHead {
		return answer.Language, err
	}
	if q.Head, err = head(); err != nil {
		return Language{}, err
	}
	q.Asked = true
	answer, err = p.ask(q)
	return answer.Language, err
}

func (p *Program) ask(q Question) (Answer, error) {
	var answer Answer
	err := p.enc.Encode(q)
	if err == nil {
		err = p.dec.Decode(&answer)
	}
	if err != nil {
		return Answer{}, fmt.Errorf("ask gitaly-linguist: %w", err)
	}
	return answer, nil
}

// Close ends the program. What it says of its own end matters to nobody any more: whoever
// needed an answer has its error.
func (p *Program) Close() error {
	err := errors.Join(p.in.Close(), p.out.Close())
	_ = p.proc.Wait()
	return err
}
