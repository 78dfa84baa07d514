package gitcmd

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// CatFileObserver counts for metrics.
type CatFileObserver interface {
	CatFileLookup(hit bool)
	CatFileStarted()
}

// CatFilesOptions bounds what is kept.
type CatFilesOptions struct {
	Max      int             // idle processes in all; 0 keeps none
	PerRepo  int             // idle processes of one repository
	Idle     time.Duration   // until an idle process ends
	MaxAge   time.Duration   // an older process is not kept: it holds removed packs open
	Observer CatFileObserver // may be nil
}

// CatFiles keeps cat-file processes for the next request for the same repository. Git
// looks references up anew for each question, and packs when it misses an object, so
// an old process answers as a new one. It is safe for concurrent use, and nil keeps
// nothing.
type CatFiles struct {
	o      CatFilesOptions
	life   context.Context //nolint:containedctx // of the processes, which outlive requests
	cancel context.CancelFunc

	mu     sync.Mutex
	idle   []*CatFile // longest idle first
	closed bool
	ending sync.WaitGroup // processes taken out of idle to end
}

// NewCatFiles returns an empty pool. Close must be called.
func NewCatFiles(o CatFilesOptions) *CatFiles {
	p := &CatFiles{o: o}
	p.life, p.cancel = context.WithCancel(context.Background())
	return p
}

// lifetime is the context of a new process: one that is kept outlives the request, and
// carries nothing of it.
func (p *CatFiles) lifetime(request context.Context) (context.Context, context.CancelFunc) {
	if p == nil {
		return context.WithCancel(request)
	}
	return context.WithCancel(p.life)
}

// take returns an idle process of the repository, or nil.
func (p *CatFiles) take(dir string) *CatFile {
	if p == nil {
		return nil
	}
	found := p.takeUsable(dir)
	if p.o.Observer != nil {
		p.o.Observer.CatFileLookup(found != nil)
	}
	return found
}

func (p *CatFiles) takeUsable(dir string) *CatFile {
	for {
		c := p.takeAny(dir)
		if c == nil || c.place.same() && !c.proc.proc.Exited() {
			return c
		}
		_ = c.end()
	}
}

func (p *CatFiles) takeAny(dir string) *CatFile {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range slices.Backward(p.idle) { // the warmest
		if c.place.path == dir {
			c.expiry.Stop() // if it fired already, drop finds nothing
			p.idle = slices.Delete(p.idle, i, i+1)
			return c
		}
	}
	return nil
}

// keep takes a process back, or reports that it should end. If there are too many,
// the longest idle ends instead.
func (p *CatFiles) keep(c *CatFile) bool {
	if p == nil || p.o.Max <= 0 || time.Since(c.born) > p.o.MaxAge || !c.place.same() || !p.add(c) {
		return false
	}
	p.drop(func(i int, _ *CatFile) bool { return i < len(p.idle)-p.o.Max })
	return true
}

func (p *CatFiles) add(c *CatFile) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	same := 0
	for _, other := range p.idle {
		if other.place.path == c.place.path {
			same++
		}
	}
	if p.closed || same >= p.o.PerRepo {
		return false
	}
	p.idle = append(p.idle, c)
	c.expiry = time.AfterFunc(p.o.Idle, func() {
		p.drop(func(_ int, other *CatFile) bool { return other == c })
	})
	return true
}

// drop ends the idle processes that match; i counts from the longest idle.
func (p *CatFiles) drop(match func(i int, c *CatFile) bool) {
	p.mu.Lock()
	var kept, gone []*CatFile
	for i, c := range p.idle {
		if match(i, c) {
			c.expiry.Stop()
			p.ending.Add(1)
			gone = append(gone, c)
		} else {
			kept = append(kept, c)
		}
	}
	p.idle = kept
	p.mu.Unlock()
	for _, c := range gone {
		_ = c.end() // our own pipes
		p.ending.Done()
	}
}

// forget ends the idle processes of the repository in dir, and of any below it.
func (p *CatFiles) forget(dir string) {
	if p != nil {
		p.drop(func(_ int, c *CatFile) bool { return c.place.path == dir || strings.HasPrefix(c.place.path, dir+"/") })
	}
}

// Close ends every process. Those still lent end too, and are waited for by who has
// them.
func (p *CatFiles) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.drop(func(int, *CatFile) bool { return true })
	p.cancel()
	p.ending.Wait()
	return nil
}

// started counts a process, also one that is not kept.
func (p *CatFiles) started() {
	if p != nil && p.o.Observer != nil {
		p.o.Observer.CatFileStarted()
	}
}
