package gitcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// CatFile is a running git cat-file --batch-command: a question is a line written
// to In, its answer is read from Out. It is not safe for concurrent use.
type CatFile struct {
	In  io.Writer
	Out *bufio.Reader

	in, out *os.File
	proc    *Process
	place   *place
	born    time.Time
	cancel  context.CancelFunc // ends the process
	unbind  func() bool        // from the context of who has it; false if that ended
	pool    *CatFiles          // nil if it ends when it is released
	expiry  *time.Timer        // while it is idle
}

// CatFile lends a cat-file of the repository until Release is called; the end of ctx
// ends it. Without Options.CatFiles, and for a quarantine, whose objects nobody else
// may see, it is started for this one use.
func (f *Factory) CatFile(ctx context.Context, repo *Repo) (*CatFile, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	pool := f.o.CatFiles
	if repo.ObjectDir != "" {
		pool = nil
	}
	c := pool.take(repo.Dir)
	if c == nil {
		var err error
		if c, err = f.startCatFile(ctx, pool, repo); err != nil {
			return nil, err
		}
	}
	c.unbind = context.AfterFunc(ctx, c.cancel)
	return c, nil
}

func (f *Factory) startCatFile(ctx context.Context, pool *CatFiles, repo *Repo) (_ *CatFile, err error) {
	c := &CatFile{pool: pool, born: time.Now()}
	var life context.Context
	life, c.cancel = pool.lifetime(ctx)
	var child []*os.File
	defer func() {
		for _, f := range child {
			_ = f.Close() // git has its own
		}
		if err != nil {
			c.cancel()
			err = errors.Join(fmt.Errorf("start cat-file: %w", err), c.close())
		}
	}()
	if c.place, err = openPlace(repo.Dir); err != nil {
		return nil, err
	}
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.in, child = in, append(child, childIn)
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.out, child = out, append(child, childOut)
	c.In, c.Out = in, bufio.NewReaderSize(out, 32<<10)
	c.proc, err = f.Start(life, repo, Spec{
		Name: "cat-file", Flags: []string{"--batch-command"}, Stdin: childIn, Stdout: childOut,
	})
	if err != nil {
		return nil, err
	}
	f.o.CatFiles.started()
	return c, nil
}

// Release gives the process back. One that is not clean, because an answer was not
// read to its end or made no sense, is ended and waited for.
func (c *CatFile) Release(clean bool) error {
	clean = c.unbind() && clean && c.Out.Buffered() == 0
	if clean && c.pool.keep(c) {
		return nil
	}
	if !clean {
		c.cancel()
	}
	return c.end()
}

// end lets go of the process and waits for it.
func (c *CatFile) end() error {
	err := c.close()
	_ = c.proc.Wait() // it may have been writing an answer that nobody wanted
	c.cancel()
	return err
}

func (c *CatFile) close() error {
	var faults []error
	for _, f := range []*os.File{c.in, c.out} {
		if f != nil {
			faults = append(faults, f.Close())
		}
	}
	if c.place != nil {
		faults = append(faults, c.place.dir.Close())
	}
	return errors.Join(faults...)
}

// place remembers the repository that a path stood for. The directory stays open, so
// that no other one gets its identity.
type place struct {
	path       string
	dir        *os.File
	info       os.FileInfo
	alternates os.FileInfo // nil without; git reads that file only once
}

func openPlace(path string) (*place, error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat()
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return &place{path: path, dir: dir, info: info, alternates: alternates(path)}, nil
}

func alternates(path string) os.FileInfo {
	info, err := os.Stat(filepath.Join(path, "objects/info/alternates"))
	if err != nil {
		return nil
	}
	return info
}

// same reports whether the path still stands for the same repository with the same
// alternates.
func (p *place) same() bool {
	info, err := os.Stat(p.path)
	if err != nil || !os.SameFile(info, p.info) {
		return false
	}
	now := alternates(p.path)
	if now == nil || p.alternates == nil {
		return now == nil && p.alternates == nil
	}
	return os.SameFile(now, p.alternates) && now.ModTime().Equal(p.alternates.ModTime()) && now.Size() == p.alternates.Size()
}
