// Package limit bounds how many calls of one RPC work on one repository at a time
// (wire/gitaly.md §10). A call first takes a place in the queue, without waiting,
// and then waits in it for its turn.
package limit

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"gitsplit/proto/go/gitalypb"
)

// DefaultQueue is how many calls wait unless the configuration says otherwise.
const DefaultQueue = 500

// Rule limits one RPC.
type Rule struct {
	Running int           // per repository
	Queue   int           // waiting besides them
	Wait    time.Duration // longest wait; 0 is no bound
}

// Limiter applies a rule. It is safe for concurrent use.
type Limiter struct {
	rule Rule
	mu   sync.Mutex
	keys map[string]*key
}

// key is one repository; it is there as long as somebody runs or waits.
type key struct {
	users int
	slots chan struct{} // holds a token for each that runs
}

// New returns a limiter.
func New(rule Rule) *Limiter { return &Limiter{rule: rule, keys: map[string]*key{}} }

// Acquire waits for a turn and returns what ends it. The errors are those of the
// protocol, with a LimitError, or the context's.
func (l *Limiter) Acquire(ctx context.Context, name string) (release func(), err error) {
	k := l.enter(name)
	if k == nil {
		return nil, refused("maximum queue size reached")
	}
	var timeout <-chan time.Time
	if l.rule.Wait > 0 {
		timer := time.NewTimer(l.rule.Wait)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case k.slots <- struct{}{}:
		return func() {
			<-k.slots
			l.leave(name, k)
		}, nil
	case <-timeout:
		err = refused("maximum time in concurrency queue reached")
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.leave(name, k)
	return nil, err
}

func (l *Limiter) enter(name string) *key {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.keys[name]
	if !ok {
		k = &key{slots: make(chan struct{}, l.rule.Running)}
		l.keys[name] = k
	}
	if k.users >= l.rule.Running+l.rule.Queue {
		return nil
	}
	k.users++
	return k
}

func (l *Limiter) leave(name string, k *key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.keys, name)
	}
}

func refused(text string) error {
	s, err := status.New(codes.ResourceExhausted, text).WithDetails(&gitalypb.LimitError{
		ErrorMessage: text, RetryAfter: durationpb.New(0),
	})
	if err != nil {
		return status.Error(codes.ResourceExhausted, text)
	}
	return s.Err()
}
