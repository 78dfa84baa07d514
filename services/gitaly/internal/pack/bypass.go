package pack

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// FetchIDKey is the environment variable by which gitaly-hooks, started for the pack of
// a fetch, finds the RPC that the fetch belongs to.
const FetchIDKey = "GITALY_FETCH_ID"

// bypassPatience is how long a pack waits for what upload-pack says before it, which is
// on its way already.
const bypassPatience = time.Second

var (
	errFetchOver = errors.New("the fetch is over")
	errBrokenOff = errors.New("the pack broke off within a packet")
)

// bypass is the way to the client of a fetch in protocol 2. upload-pack writes to it,
// and after its announcement of the pack the pack itself can pass by upload-pack, which
// would only put the same packets around the same bytes: the cache has them already.
// upload-pack then hears of an empty pack, and ends the answer as always.
type bypass struct {
	w     io.Writer // to the client, through bands
	bands *bands
	seen  func() // the pack begins

	mu    sync.Mutex
	turn  *sync.Cond // something below changed
	ready bool       // the pack was announced, and nobody has begun to write it
	taken bool       // it comes from us
	over  bool
	err   error // of w
}

func newBypass(w io.Writer, b *bands, seen func()) *bypass {
	p := &bypass{w: w, bands: b, seen: seen}
	p.turn = sync.NewCond(&p.mu)
	return p
}

// Write passes on what upload-pack says. While a pack is on its way that is no more
// than signs of life, which go between its packets.
func (p *bypass) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.taken && p.err == nil && !p.bands.between() {
		p.turn.Wait()
	}
	n, err := p.pass(b)
	if p.bands.announced {
		p.bands.announced, p.ready = false, true
		p.seen()
		p.turn.Broadcast()
	}
	return n, err
}

// pass writes to the client. p.mu is held, also while the client does not read.
func (p *bypass) pass(b []byte) (int, error) {
	if p.err != nil {
		return 0, p.err
	}
	n, err := p.w.Write(b)
	p.err = err
	return n, err
}

// take gives the way to a pack once it was announced; nil if that does not happen.
// release ends it.
func (p *bypass) take(ctx context.Context) (w io.Writer, release func()) {
	ctx, cancel := context.WithTimeout(ctx, bypassPatience)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.turn.Broadcast()
	})()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.ready && !p.over && ctx.Err() == nil {
		p.turn.Wait()
	}
	if !p.ready || p.over {
		return nil, nil
	}
	p.ready, p.taken = false, true
	return writerFunc(p.direct), p.release
}

// direct writes a piece of a pack, in packets of a side-band.
func (p *bypass) direct(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return 0, errFetchOver
	}
	defer p.turn.Broadcast()
	return p.pass(b)
}

func (p *bypass) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken = false
	if p.err == nil && !p.bands.between() { // what upload-pack says next would be read as the pack
		p.err = errBrokenOff
	}
	p.turn.Broadcast()
}

// end makes the client out of reach, as it is when the RPC has ended. A write in
// progress comes to its end first, like those of upload-pack.
func (p *bypass) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.turn.Broadcast()
}

// openBypass gives the fetch an id by which its pack finds the client.
func (s *Service) openBypass(p *bypass) (id string, closed func()) {
	id = NewID()
	s.mu.Lock()
	s.bypasses[id] = p
	s.mu.Unlock()
	return id, func() {
		s.mu.Lock()
		delete(s.bypasses, id)
		s.mu.Unlock()
		p.end()
	}
}

// Bypass is the way to the client of the fetch with that id, for the pack that
// upload-pack wants with these arguments. It is nil if there is none and upload-pack must
// have the pack; otherwise release must be called.
func (s *Service) Bypass(ctx context.Context, id string, args []string) (w io.Writer, release func()) {
	s.mu.Lock()
	p := s.bypasses[id]
	s.mu.Unlock()
	// With such a flag upload-pack looks for URLs in what it gets.
	urls := func(arg string) bool { return strings.HasPrefix(arg, "--uri-protocol") }
	if p == nil || slices.ContainsFunc(args, urls) {
		return nil, nil
	}
	return p.take(ctx)
}
