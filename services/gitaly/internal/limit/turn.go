package limit

import (
	"context"
	"errors"
	"net"
	"time"
)

// Observer hears of the calls that pass limiters, for metrics. rpc is a full method.
type Observer interface {
	Queued(rpc string, n int)  // so many more, or less, wait
	Running(rpc string, n int) // so many more, or less, have their turn
	Acquired(rpc string, waited time.Duration)
	Dropped(rpc, reason string, authenticated bool)
}

// step is a limiter on the way of a call.
type step struct {
	limiter *Limiter // nil is none
	key     string
}

// call is what is said of a call in metrics.
type call struct {
	rpc           string
	authenticated bool
}

// pass waits for a turn at every step and returns what ends all of them.
func pass(ctx context.Context, o Observer, c call, steps ...step) (release func(), err error) {
	var held []func()
	release = func() {
		for i := len(held) - 1; i >= 0; i-- {
			held[i]()
		}
	}
	begin := time.Now()
	o.Queued(c.rpc, 1)
	defer o.Queued(c.rpc, -1)
	for _, s := range steps {
		leave, err := s.limiter.Acquire(ctx, s.key)
		if err != nil {
			release()
			o.Dropped(c.rpc, reason(err), c.authenticated)
			return nil, err
		}
		held = append(held, leave)
	}
	o.Acquired(c.rpc, time.Since(begin))
	o.Running(c.rpc, 1)
	held = append(held, func() { o.Running(c.rpc, -1) })
	return release, nil
}

func reason(err error) string {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason
	}
	return Other
}

// Split is one limit for callers with a user name and one for those without.
type Split struct {
	All             *Limiter
	Unauthenticated *Limiter // nil: All is for both
}

func (s Split) of(authenticated bool) *Limiter {
	if !authenticated && s.Unauthenticated != nil {
		return s.Unauthenticated
	}
	return s.All
}

// Packs bounds how many packs are made for one client at a time. It stands behind the
// cache of packs: what is answered from there asks for no turn.
type Packs struct {
	limit Split
	o     Observer
}

// NewPacks returns the limit of the packs.
func NewPacks(limit Split, o Observer) *Packs { return &Packs{limit, o} }

// Acquire waits for the client's turn and returns what ends it. remoteIP is the
// client's address, with or without a port; one that is missing or of this host is
// not limited. username is "" for a client that is not logged in.
func (p *Packs) Acquire(ctx context.Context, remoteIP, username string) (release func(), err error) {
	host, _, err := net.SplitHostPort(remoteIP)
	if err != nil {
		host = remoteIP // no port
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsLoopback() {
		return func() {}, nil
	}
	c := call{authenticated: username != ""}
	return pass(ctx, p.o, c, step{p.limit.of(c.authenticated), host})
}
