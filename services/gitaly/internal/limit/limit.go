// Package limit bounds what works at the same time: calls of an RPC on one
// repository, calls on the whole server, runs of pack-objects for one client
// (wire/gitaly.md §10). Who finds no turn free takes a place in a queue, if there is
// one, and waits; the longest wait is served first.
package limit

import (
	"container/list"
	"context"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"gitsplit/proto/go/gitalypb"
)

// Rule bounds the turns for each key.
type Rule struct {
	Running int           // turns at a time; where an adaptive limit begins
	Queue   int           // waiting besides them
	Wait    time.Duration // longest wait; 0 is no bound
	// Min and Max make the limit adaptive: it moves between them. 0 is a fixed one.
	Min, Max int
}

// Limiter applies a rule. It is safe for concurrent use.
type Limiter struct {
	rule Rule
	mu   sync.Mutex
	now  int // turns at a time, which Adapt changes
	keys map[string]*key
}

// key is a repository or client; it is there as long as somebody runs or waits.
type key struct {
	running int
	queue   list.List // of chan struct{}, closed when it is their turn
}

// New returns a limiter.
func New(rule Rule) *Limiter {
	return &Limiter{rule: rule, now: rule.Running, keys: map[string]*key{}}
}

// Acquire waits for a turn and returns what ends it. The error is a *Refusal or the
// context's. A nil Limiter never refuses.
func (l *Limiter) Acquire(ctx context.Context, name string) (release func(), err error) {
	if l == nil {
		return func() {}, nil
	}
	release = func() { l.leave(name) }
	turn, place, err := l.enter(name)
	if err != nil || turn == nil {
		return release, err
	}
	var late <-chan time.Time
	if l.rule.Wait > 0 {
		timer := time.NewTimer(l.rule.Wait)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-turn:
		return release, nil
	case <-late:
		err = &Refusal{Reason: TooLate, text: "maximum time in concurrency queue reached"}
	case <-ctx.Done():
		err = ctx.Err()
	}
	if !l.withdraw(name, turn, place) { // the turn came in the same moment
		release()
	}
	return nil, err
}

// enter takes a turn at once, or a place in the queue; then turn is what to wait for.
func (l *Limiter) enter(name string) (turn chan struct{}, place *list.Element, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k, ok := l.keys[name]
	if !ok {
		k = &key{}
		l.keys[name] = k
	}
	switch {
	case k.running < l.now && k.queue.Len() == 0:
		k.running++
		return nil, nil, nil
	case k.queue.Len() >= l.rule.Queue:
		return nil, nil, &Refusal{Reason: QueueFull, text: "maximum queue size reached"}
	}
	turn = make(chan struct{})
	return turn, k.queue.PushBack(turn), nil
}

// withdraw gives a place in the queue up; false says that it has become a turn.
func (l *Limiter) withdraw(name string, turn chan struct{}, place *list.Element) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-turn:
		return false
	default:
	}
	k := l.keys[name]
	k.queue.Remove(place)
	l.admit(name, k)
	return true
}

func (l *Limiter) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.keys[name]
	k.running--
	l.admit(name, k)
}

// admit gives free turns to those who wait longest, and forgets an idle key.
func (l *Limiter) admit(name string, k *key) {
	for k.running < l.now && k.queue.Len() > 0 {
		turn, _ := k.queue.Remove(k.queue.Front()).(chan struct{})
		k.running++
		close(turn)
	}
	if k.running == 0 && k.queue.Len() == 0 {
		delete(l.keys, name)
	}
}

// Adaptive reports whether the limit moves.
func (l *Limiter) Adaptive() bool { return l != nil && l.rule.Max > 0 }

// Adapt moves an adaptive limit: half of it under pressure, else one more, within its
// range. It returns the new one. Who has a turn keeps it.
func (l *Limiter) Adapt(pressure bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pressure {
		l.now = max(l.rule.Min, l.now/2)
	} else {
		l.now = min(l.rule.Max, l.now+1)
	}
	for name, k := range l.keys {
		l.admit(name, k)
	}
	return l.now
}

// Reasons of a refusal, as metrics name them.
const (
	QueueFull = "max_size"
	TooLate   = "max_time"
	Other     = "other" // the caller went away
)

// Refusal is the protocol's error for a call that got no turn: ResourceExhausted with
// a LimitError that has the same text.
type Refusal struct {
	Reason string
	text   string
}

// Error returns the protocol's text.
func (r *Refusal) Error() string { return r.text }

// GRPCStatus returns what is sent.
func (r *Refusal) GRPCStatus() *status.Status {
	s := status.New(codes.ResourceExhausted, r.text)
	detailed, err := s.WithDetails(&gitalypb.LimitError{ErrorMessage: r.text, RetryAfter: durationpb.New(0)})
	if err != nil {
		return s
	}
	return detailed
}
