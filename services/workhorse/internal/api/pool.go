package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// pool spreads requests over the rails-apis in turn. One that refuses
// connections, or answers 502 or 503, is out: until a probe finds it well it gets
// only requests that none of the others can be reached for. It may be back by then:
// when all are restarted in turn, probes come late.
//
// A request goes to a second rails-api only if the first got nothing of it, or if
// it may be repeated: it has no body and changes nothing (security-baseline.md K5).
type pool struct {
	backends []*backend
	next     atomic.Uint64
	log      *slog.Logger
	probeURL url.URL
	pause    time.Duration // before the first probe

	ctx     context.Context // ends the probes
	cancel  context.CancelFunc
	probing sync.WaitGroup
}

// backend is one rails-api with its connections.
type backend struct {
	addr      string
	dial      dialFunc
	transport *http.Transport
	out       atomic.Bool
}

type dialFunc func(context.Context) (net.Conn, error)

// dialError is a connection that did not come about: nothing was sent.
type dialError struct{ error }

func (e *dialError) Unwrap() error { return e.error }

// RoundTrip sends the request to a rails-api and returns its answer.
func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	body := hold(r)
	order, well := p.order()
	for i, b := range order {
		last := i == len(order)-1
		res, err := b.transport.RoundTrip(r)
		p.judge(r.Context(), b, res, err)
		last = last || i == well-1 && res != nil // an answer is better than who may not have one
		if last || r.Context().Err() != nil || !again(r, body, res, err) {
			body.release()
			return res, err
		}
		if res != nil {
			_ = res.Body.Close() // the next answer is wanted
		}
	}
	return nil, errors.New("no rails-api is configured")
}

// order returns the backends to try, from the next in turn on: first the well ones,
// and how many those are.
func (p *pool) order() (all []*backend, well int) {
	n := len(p.backends)
	first := int(p.next.Add(1) % uint64(n)) //nolint:gosec // below n
	all = make([]*backend, 0, n)
	var out []*backend
	for i := range n {
		if b := p.backends[(first+i)%n]; b.out.Load() {
			out = append(out, b)
		} else {
			all = append(all, b)
		}
	}
	return append(all, out...), len(all)
}

// again reports whether the request may go to another backend.
func again(r *http.Request, body *heldBody, res *http.Response, err error) bool {
	if err != nil {
		if _, unsent := errors.AsType[*dialError](err); unsent && !body.touched() {
			return true
		}
		return repeatable(r)
	}
	return unwell(res.StatusCode) && repeatable(r)
}

func unwell(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable
}

// repeatable reports whether a request may be sent twice. Questions of ours say so
// by an Idempotency-Key without value, which is never sent.
func repeatable(r *http.Request) bool {
	if r.Body != nil && r.Body != http.NoBody {
		return false
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return r.Header.Get("Upgrade") == ""
	}
	key, marked := r.Header["Idempotency-Key"]
	return marked && len(key) == 0
}

// judge takes a backend out that could not be reached or says that it cannot
// work.
func (p *pool) judge(ctx context.Context, b *backend, res *http.Response, err error) {
	_, refused := errors.AsType[*dialError](err)
	bad := refused && ctx.Err() == nil || res != nil && unwell(res.StatusCode)
	if !bad || len(p.backends) == 1 || p.ctx.Err() != nil || !b.out.CompareAndSwap(false, true) {
		return
	}
	p.log.WarnContext(ctx, "rails-api is out", slog.String("backend", b.addr))
	p.probing.Go(func() { p.probe(b) }) //nolint:contextcheck // a probe ends with the pool, not with the request
}

// longestPause is the most time between two probes.
const longestPause = 10 * time.Second

// probe asks a backend for its readiness, with growing pauses, and lets it in again
// once it answers without a sign of being unwell.
func (p *pool) probe(b *backend) {
	for pause := p.pause; ; pause = min(2*pause, longestPause) {
		timer := time.NewTimer(pause)
		select {
		case <-p.ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if p.isWell(b) {
			b.out.Store(false)
			p.log.InfoContext(p.ctx, "rails-api is back", slog.String("backend", b.addr))
			return
		}
	}
}

func (p *pool) isWell(b *backend) bool {
	ctx, cancel := context.WithTimeout(p.ctx, longestPause)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.probeURL.String(), nil)
	if err != nil {
		return false
	}
	res, err := b.transport.RoundTrip(r)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, maxProbe)) // so that the connection is kept
	return errors.Join(err, res.Body.Close()) == nil && !unwell(res.StatusCode)
}

// maxProbe bounds what is read of the answer to a probe.
const maxProbe = 64 << 10

// check reports whether any backend accepts connections.
func (p *pool) check(ctx context.Context) error {
	var faults []error
	for _, b := range p.backends {
		conn, err := b.dial(ctx)
		if err == nil {
			return conn.Close()
		}
		faults = append(faults, err)
	}
	return errors.Join(faults...)
}

// close ends the probes and drops idle connections.
func (p *pool) close() {
	p.cancel()
	p.probing.Wait()
	for _, b := range p.backends {
		b.transport.CloseIdleConnections()
	}
}
