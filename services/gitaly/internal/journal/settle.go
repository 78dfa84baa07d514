package journal

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"gitsplit/kit/errs"
)

// settleTime bounds the look at the references of one repository.
const settleTime = 30 * time.Second

// End says that nothing of a push moves any more. moved tells of each reference
// whether it has, as git reported; nil if that is not known. What the post-receive hook
// has not delivered is delivered in the background.
func (j *Journal) End(ctx context.Context, id string, moved func(ref string) bool) {
	e := j.entry(id)
	if e == nil {
		return
	}
	ctx = context.WithoutCancel(ctx) // whoever pushed may have gone
	if !e.isSettled() && moved != nil {
		j.moved(ctx, e, filter(e.Changes, moved))
	}
	if !e.isSettled() {
		j.disown(e)
		if err := j.settleOrphans(ctx, e.queue); err != nil {
			j.failed(e.queue)
		}
	}
	j.poke()
}

// disown makes an entry one of which nobody will say how it ended.
func (j *Journal) disown(e *entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !e.isSettled() && !e.orphan {
		e.orphan = true
		j.orphans.Add(1)
	}
}

// Settle finds out how the pushes ended that a dead gitaly has left in a repository. It
// is called before anybody changes the repository. When that fails, it is logged and
// tried again later.
func (j *Journal) Settle(ctx context.Context, storageName, path string) {
	if j.orphans.Load() == 0 {
		return
	}
	j.mu.Lock()
	q := j.queues[storageName+"/"+path]
	j.mu.Unlock()
	if q != nil {
		_ = j.settleOrphans(context.WithoutCancel(ctx), q) // logged there
	}
}

// settleOrphans reads off the references what has moved of the records of which nobody
// will say it. An error is logged.
func (j *Journal) settleOrphans(ctx context.Context, q *queue) error {
	q.settling.Lock()
	defer q.settling.Unlock()
	names := j.inDoubt(q)
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	current, err := j.o.References(ctx, q.volume.name, q.path, names)
	if errs.KindOf(err) == errs.NotFound { // the repository is gone, and what moved in it
		current, err = map[string]string{}, nil
		names = nil
	}
	if err != nil {
		j.o.Log.ErrorContext(ctx, "what has moved is not known: references cannot be read", slog.String("storage", q.volume.name),
			slog.String("repository", q.path), slog.Any("error", err))
		return err
	}
	for e, changes := range j.verdicts(q, current, names == nil) {
		j.o.Log.WarnContext(ctx, "push settled by its references", slog.String("push_id", e.ID), slog.String("repository", q.path),
			slog.Int("moved", strings.Count(string(changes), "\n")), slog.Int("asked", strings.Count(string(e.Changes), "\n")))
		j.moved(ctx, e, changes)
	}
	return nil
}

// inDoubt are the references that orphans would move.
func (j *Journal) inDoubt(q *queue) []string {
	var names []string
	for _, o := range j.opinions(q) {
		if o.orphan {
			each(o.changes, func(c change) { names = append(names, c.ref) })
		}
	}
	return names
}

// opinion is what is known of an entry: what it has moved, or wants to.
type opinion struct {
	*entry
	changes octets
	orphan  bool
}

// opinions are those of all entries of a queue, in order.
func (j *Journal) opinions(q *queue) []opinion {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]opinion, len(q.entries))
	for i, e := range q.entries {
		all[i] = opinion{e, e.Changes, e.orphan}
		if e.isSettled() {
			all[i].changes = e.changes
		}
	}
	return all
}

// verdicts say what has moved of each orphan. The records are walked from the last to
// the first: a reference that is where a push wanted it was where that push found it
// before, so that the one before it can be told, too.
func (j *Journal) verdicts(q *queue, current map[string]string, gone bool) map[*entry]octets {
	verdicts := map[*entry]octets{}
	for _, o := range slices.Backward(j.opinions(q)) {
		happened := filterChanges(o.changes, func(c change) bool {
			if gone || value(current, c) != c.new {
				return false
			}
			current[c.ref] = c.old
			return true
		})
		if o.orphan {
			verdicts[o.entry] = happened
		}
	}
	return verdicts
}

// value is what a reference points at, zeros if it is not there.
func value(current map[string]string, c change) string {
	if oid, ok := current[c.ref]; ok {
		return oid
	}
	return strings.Repeat("0", len(c.new))
}

// change is one line of a push.
type change struct{ old, new, ref string }

// each calls do with every change: lines of "<old> SP <new> SP <ref> LF", as hooks read
// them.
func each(changes octets, do func(change)) {
	for text := range strings.Lines(string(changes)) {
		before, rest, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " ")
		after, ref, _ := strings.Cut(rest, " ")
		do(change{before, after, ref})
	}
}

func filterChanges(changes octets, keep func(change) bool) octets {
	var kept strings.Builder
	each(changes, func(c change) {
		if keep(c) {
			kept.WriteString(c.old + " " + c.new + " " + c.ref + "\n")
		}
	})
	return octets(kept.String())
}

func filter(changes octets, keep func(ref string) bool) octets {
	return filterChanges(changes, func(c change) bool { return keep(c.ref) })
}
