package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"gitsplit/kit/correlation"
	"gitsplit/kit/internalapi"
)

// ErrLater is the error for a push that is done and whose report is not delivered yet.
var ErrLater = errors.New("push is not reported yet")

// Attempts in the background: the pause before the second, which doubles, and its
// bound; how many repositories have their turn at a time.
const (
	firstPause = 500 * time.Millisecond
	longest    = 30 * time.Second
	parallel   = 8
)

// Deliver reports what a push has moved, after what the repository's earlier pushes
// have. It returns the API's answer, or ErrLater when that does not come in time: then
// it is asked for in the background.
func (j *Journal) Deliver(ctx context.Context, id, changes string) ([]internalapi.Message, bool, error) {
	e := j.entry(id)
	if e == nil {
		return nil, false, fmt.Errorf("journal: push %q has not begun", id)
	}
	j.moved(ctx, e, octets(changes))
	ctx, cancel := context.WithTimeout(ctx, j.o.Patience)
	defer cancel()
	if err := j.flush(ctx, e.queue, e); err != nil {
		j.o.Log.WarnContext(ctx, "push is done, but not reported yet", slog.String("push_id", id), slog.Any("error", err))
		return nil, false, fmt.Errorf("%w: %w", ErrLater, err)
	}
	return e.messages, e.lowered, e.err
}

// flush delivers what waits in a queue, up to and with the entry until, or all if that
// is nil.
func (j *Journal) flush(ctx context.Context, q *queue, until *entry) error {
	j.enter(q)
	defer j.leave(q)
	select {
	case q.turn <- struct{}{}:
		defer func() { <-q.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		e, before := j.first(q, until)
		switch {
		case e == nil:
			return nil
		case before != nil:
			if err := j.await(ctx, q, before); err != nil {
				return err
			}
			continue
		}
		if err := j.post(ctx, e); err != nil {
			j.failed(q)
			return err
		}
	}
}

// errBefore means that a push under way keeps a later one waiting.
var errBefore = errors.New("an earlier push is not over")

// await waits until it is known how an entry ended, but not for ever: its client may take
// its time to read git's answer, and the other repositories want their turn.
func (j *Journal) await(ctx context.Context, q *queue, before *entry) error {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-before.settled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		j.failed(q)
		return errBefore
	}
}

func (j *Journal) enter(q *queue) {
	j.mu.Lock()
	defer j.mu.Unlock()
	q.flushing++
}

func (j *Journal) leave(q *queue) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if q.flushing--; q.flushing > 0 {
		return
	}
	if len(q.entries) == 0 {
		key := q.volume.name + "/" + q.path
		if j.queues[key] == q {
			delete(j.queues, key)
		}
		return
	}
	j.poke() // what is left is the background's
}

// first returns the entry that is to be delivered next, nil if none is up to until;
// and one of which must be known before how it ended, since it came before on the same
// reference.
func (j *Journal) first(q *queue, until *entry) (next, before *entry) {
	next, earlier := j.settled(q, until)
	if next == nil {
		return nil, nil
	}
	return next, predecessor(earlier, next) // a push may have many changes: the others need not wait
}

// settled returns the first entry of which it is known what moved, and those before it.
func (j *Journal) settled(q *queue, until *entry) (first *entry, earlier []*entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if until != nil && until.ended {
		return nil, nil
	}
	i := slices.IndexFunc(q.entries, (*entry).isSettled)
	if i < 0 {
		return nil, nil
	}
	return q.entries[i], slices.Clone(q.entries[:i])
}

// predecessor is a push under way that has put a reference where e found it.
func predecessor(earlier []*entry, e *entry) *entry {
	if len(earlier) == 0 {
		return nil
	}
	found := map[string]string{}
	each(e.changes, func(c change) { found[c.ref] = c.old })
	for _, other := range earlier {
		hit := false
		each(other.Changes, func(c change) { hit = hit || found[c.ref] == c.new })
		if hit && !other.isSettled() {
			return other
		}
	}
	return nil
}

// post sends one report. An error means that it must be sent again.
func (j *Journal) post(ctx context.Context, e *entry) error {
	if e.CorrelationID != "" {
		ctx = correlation.With(ctx, e.CorrelationID)
	}
	messages, lowered, err := j.o.API.PostReceive(ctx, e.push(e.changes))
	outcome := "delivered"
	switch {
	case err == nil && e.changes == "":
		outcome = "released"
	case err != nil && j.o.API.Refused(ctx, err):
		outcome = "refused"
		j.o.Log.ErrorContext(ctx, "internal API refuses the report of a push for good", slog.String("push_id", e.ID),
			slog.String("gl_repository", e.GLRepository), slog.Any("error", err))
	case err != nil:
		j.o.Observer.JournalFailure()
		return err
	}
	e.messages, e.lowered, e.err = messages, lowered, err
	j.end(ctx, e, outcome)
	j.mu.Lock()
	e.queue.failures, e.queue.notBefore = 0, time.Time{}
	j.mu.Unlock()
	return nil
}

// failed puts the next attempt in the background off.
func (j *Journal) failed(q *queue) {
	j.mu.Lock()
	defer j.mu.Unlock()
	pause := min(firstPause<<min(q.failures, 10), longest)
	q.failures++
	q.notBefore = j.o.Now().Add(pause/2 + rand.N(pause)) //nolint:gosec // spreads load
}

// poke lets Run look.
func (j *Journal) poke() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// Run settles what a dead gitaly has left and delivers in the background until ctx
// ends.
func (j *Journal) Run(ctx context.Context) {
	var working errgroup.Group
	working.SetLimit(parallel)
	for {
		due, pause := j.due()
		for _, q := range due {
			working.Go(func() error {
				defer j.leave(q)
				if j.settleOrphans(ctx, q) != nil { // what stands behind an orphan would wait for it here
					j.failed(q)
					return nil
				}
				if err := j.flush(ctx, q, nil); err != nil && ctx.Err() == nil {
					j.o.Log.WarnContext(ctx, "report of a push failed; it is tried again", slog.String("repository", q.path), slog.Any("error", err))
				}
				return nil
			})
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			_ = working.Wait()
			return
		case <-j.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// due returns the queues whose turn has come, entered, and the time until the next.
func (j *Journal) due() ([]*queue, time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now, pause := j.o.Now(), longest
	var due []*queue
	for _, q := range j.queues {
		if q.flushing > 0 || !q.waits() {
			continue
		}
		if left := q.notBefore.Sub(now); left > 0 {
			pause = min(pause, left)
			continue
		}
		q.flushing++
		due = append(due, q)
	}
	return due, pause
}

// waits reports whether something is left for the background.
func (q *queue) waits() bool {
	for _, e := range q.entries {
		if e.orphan || e.isSettled() {
			return true
		}
	}
	return false
}
