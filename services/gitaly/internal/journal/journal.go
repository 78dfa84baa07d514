// Package journal makes sure that no push is forgotten (design §6.1). Before a
// reference can move, it is written down durably what is about to happen; when the end
// is known, the record is settled; and what has moved is reported to the internal API
// until that has it, across restarts of either side.
//
// Each storage carries its journal, +gitaly/journal/log. A push costs one sync, which
// pushes at the same time share: only that it begins must be on the disk, since what
// became of it can be read off the references. Such questions arise for pushes that end
// without their post-receive hook, and for those of a gitaly that died; the answer is
// found before anybody changes the repository again.
//
// Reports about one repository are sent one at a time and in the order of the pushes.
// Each carries the push's id, by which the API knows a report that it has already.
package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/fault"
	"gitsplit/kit/internalapi"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/storage"
)

// Dir is the journal's directory below a storage's own.
const Dir = "journal"

// API is the internal API as this package needs it.
type API interface {
	PostReceive(ctx context.Context, p api.Push) ([]internalapi.Message, bool, error)
	// Refused reports whether the error is the API's own no, which it will say again.
	Refused(ctx context.Context, err error) bool
}

// References reads what references point at; those that are not there are left out. No
// repository is errs.NotFound.
type References func(ctx context.Context, storageName, path string, names []string) (map[string]string, error)

// Observer measures.
type Observer interface {
	// JournalRecord counts a record that is done with: delivered, released, refused.
	JournalRecord(outcome string)
	// JournalFailure counts a delivery that failed and is tried again.
	JournalFailure()
	// JournalWriteFailed counts a write or sync that failed.
	JournalWriteFailed()
}

// Options is what a Journal needs.
type Options struct {
	API        API
	References References
	Observer   Observer
	Log        *slog.Logger
	Now        func() time.Time
	// MaxUndelivered and MaxBytes bound what waits in each storage: records of pushes
	// that are done and not delivered, and the bytes of all records.
	MaxUndelivered int
	MaxBytes       int64
	// Patience is how long a push waits for its report.
	Patience time.Duration
	// Sync is (*os.File).Sync if nil.
	Sync func(*os.File) error
}

// Journal is the journal of all storages. It is safe for concurrent use.
type Journal struct {
	o       Options
	orphans atomic.Int64 // records to settle against the references
	wake    chan struct{}

	mu      sync.Mutex
	volumes map[string]*volume // by storage
	queues  map[string]*queue  // by storage and path
	entries map[string]*entry  // by id
}

// volume is the journal of a storage.
type volume struct {
	name        string
	file        *file
	live        int64 // bytes of records that are not done with
	undelivered int   // settled records with changes
}

// queue is the records of one repository, in the order in which they began.
type queue struct {
	volume    *volume
	path      string
	entries   []*entry
	turn      chan struct{} // held by who delivers
	flushing  int           // those who deliver or wait for their turn
	failures  int           // in a row
	notBefore time.Time     // of the next attempt in the background
	settling  sync.Mutex    // held while orphans are looked at
}

// entry is a record and what is known of it.
type entry struct {
	*record
	queue    *queue
	size     int64
	orphan   bool          // nobody will say how it ended
	settled  chan struct{} // closed once changes is known
	changes  octets        // what has moved; "" is nothing
	messages []internalapi.Message
	lowered  bool
	err      error
	ended    bool
}

func (e *entry) isSettled() bool {
	select {
	case <-e.settled:
		return true
	default:
		return false
	}
}

// Open opens the journals of the storages and reads what a gitaly before has left.
// Close must be called.
func Open(o Options, storages ...*storage.Storage) (_ *Journal, err error) {
	if o.Sync == nil {
		o.Sync = (*os.File).Sync
	}
	j := &Journal{o: o, wake: make(chan struct{}, 1), volumes: map[string]*volume{}, queues: map[string]*queue{}, entries: map[string]*entry{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	for _, st := range storages {
		f, lines, bad, err := openFile(filepath.Join(st.Own(), Dir), o.Sync)
		if err != nil {
			return nil, fmt.Errorf("storage %q: %w", st.Name, err)
		}
		v := &volume{name: st.Name, file: f}
		j.volumes[st.Name] = v
		for _, l := range lines {
			j.replay(v, l)
		}
		if bad > 0 {
			o.Log.Error("journal has damaged records: events of pushes may be missing", slog.String("storage", st.Name), slog.Int("records", bad))
		}
	}
	if n := len(j.entries); n > 0 {
		o.Log.Info("journal has records of an earlier gitaly", slog.Int("records", n), slog.Int64("to_settle", j.orphans.Load()))
	}
	return j, nil
}

// replay takes a line of the file into memory. A line may be there twice.
func (j *Journal) replay(v *volume, l line) {
	if r := l.Begin; r != nil && j.entries[r.ID] == nil {
		j.add(v, r).orphan = true
		j.orphans.Add(1)
	}
	if e := j.entries[l.Settled]; e != nil && !e.isSettled() {
		changes := l.Changes
		if l.All {
			changes = e.Changes
		}
		j.settle(e, changes)
	}
	if e := j.entries[l.End]; e != nil {
		j.remove(e)
	}
}

// add makes an entry. j.mu is held, or nobody else is there yet.
func (j *Journal) add(v *volume, r *record) *entry {
	key := v.name + "/" + string(r.Path)
	q := j.queues[key]
	if q == nil {
		q = &queue{volume: v, path: string(r.Path), turn: make(chan struct{}, 1)}
		j.queues[key] = q
	}
	e := &entry{record: r, queue: q, size: r.size(), settled: make(chan struct{})}
	q.entries, j.entries[r.ID] = append(q.entries, e), e
	v.live += e.size
	return e
}

// settle notes what has moved. j.mu is held, or nobody else is there yet.
func (j *Journal) settle(e *entry, changes octets) {
	if e.orphan {
		e.orphan = false
		j.orphans.Add(-1)
	}
	e.changes = changes
	if changes != "" {
		e.queue.volume.undelivered++
	}
	close(e.settled)
}

// remove forgets an entry. j.mu is held, or nobody else is there yet.
func (j *Journal) remove(e *entry) {
	q := e.queue
	for i := range q.entries {
		if q.entries[i] == e {
			q.entries = append(q.entries[:i:i], q.entries[i+1:]...)
			break
		}
	}
	switch {
	case !e.isSettled():
		j.settle(e, "")
	case e.changes != "":
		q.volume.undelivered--
	}
	delete(j.entries, e.ID)
	q.volume.live -= e.size
	e.ended = true
	if len(q.entries) == 0 && q.flushing == 0 {
		delete(j.queues, q.volume.name+"/"+q.path)
	}
}

// Close closes the files. What is not delivered is by the next gitaly.
func (j *Journal) Close() error {
	var faults []error
	for _, v := range j.volumes {
		faults = append(faults, v.file.close())
	}
	return errors.Join(faults...)
}

// Begin writes down what a push is about to do. When it returns without error that is
// on the disk, and End must follow. An error has a text for the user.
func (j *Journal) Begin(ctx context.Context, storageName string, p api.Push) error {
	e, err := j.begin(storageName, newRecord(p, correlation.ID(ctx), j.o.Now()))
	if err != nil {
		return err
	}
	if err := j.write(e.queue.volume, line{Begin: e.record}); err != nil {
		j.mu.Lock()
		j.remove(e)
		j.mu.Unlock()
		j.o.Log.ErrorContext(ctx, "journal cannot be written: pushes are refused", slog.String("storage", storageName), slog.Any("error", err))
		return errs.Wrap(errs.Unavailable, unwritable, err)
	}
	j.mu.Lock()
	ended := e.ended
	j.mu.Unlock()
	if ended { // git died meanwhile, and the end stands before the beginning
		j.note(ctx, e.queue.volume, line{End: e.ID})
	}
	return nil
}

// What the user reads whose push is refused for the journal's sake.
const (
	unwritable = "The server cannot write to its disk, so your push was refused. Nothing was changed. " +
		"Push again later, or tell your administrator."
	full = "Too many pushes wait to be processed, so your push was refused. Nothing was changed. " +
		"Push again later, or tell your administrator."
)

func (j *Journal) begin(storageName string, r *record) (*entry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	v := j.volumes[storageName]
	switch {
	case v == nil || r.ID == "":
		return nil, fmt.Errorf("journal: push %q in storage %q cannot be noted", r.ID, storageName)
	case j.entries[r.ID] != nil:
		return nil, fmt.Errorf("journal: push %q has begun already", r.ID)
	case v.undelivered >= j.o.MaxUndelivered, v.live+r.size() > j.o.MaxBytes:
		j.o.Log.Warn("journal is full: a push is refused", slog.String("storage", storageName), slog.Int("undelivered", v.undelivered), slog.Int64("bytes", v.live))
		return nil, errs.New(errs.Exhausted, full)
	}
	return j.add(v, r), nil
}

// write appends a line to the file.
func (j *Journal) write(v *volume, l line) error {
	if fault.Enabled && fault.Mutated(fault.SkipJournal) {
		return nil
	}
	err := v.file.append(l, func() []line { return j.lines(v) })
	if err != nil {
		j.o.Observer.JournalWriteFailed()
	}
	return err
}

// note is write for what can be found out again.
func (j *Journal) note(ctx context.Context, v *volume, l line) {
	if err := j.write(v, l); err != nil {
		j.o.Log.WarnContext(ctx, "journal cannot be written: a record is settled again after a restart", slog.Any("error", err))
	}
}

// lines is what the file of a volume must hold.
func (j *Journal) lines(v *volume) []line {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lines []line
	for _, q := range j.queues {
		if q.volume != v {
			continue
		}
		for _, e := range q.entries {
			lines = append(lines, line{Begin: e.record})
			if e.isSettled() {
				lines = append(lines, e.outcome())
			}
		}
	}
	return lines
}

// outcome is the line that says what has moved.
func (e *entry) outcome() line {
	if e.changes == e.Changes {
		return line{Settled: e.ID, All: true}
	}
	return line{Settled: e.ID, Changes: e.changes}
}

// moved notes which changes of a push have come to pass, once.
func (j *Journal) moved(ctx context.Context, e *entry, changes octets) {
	j.mu.Lock()
	if e.isSettled() {
		j.mu.Unlock()
		return
	}
	j.settle(e, changes)
	l := e.outcome()
	j.mu.Unlock()
	j.note(ctx, e.queue.volume, l)
}

// Forget ends the record of a push of which nothing has moved and that the API has not
// counted.
func (j *Journal) Forget(ctx context.Context, id string) {
	if e := j.entry(id); e != nil {
		j.end(ctx, e, "refused")
	}
}

func (j *Journal) entry(id string) *entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.entries[id]
}

// end is the end of a record.
func (j *Journal) end(ctx context.Context, e *entry, outcome string) {
	j.mu.Lock()
	if e.ended {
		j.mu.Unlock()
		return
	}
	j.remove(e)
	v := e.queue.volume
	live := v.live
	j.mu.Unlock()
	j.o.Observer.JournalRecord(outcome)
	j.note(ctx, v, line{End: e.ID})
	if err := v.file.compact(live, func() []line { return j.lines(v) }); err != nil {
		j.o.Log.WarnContext(ctx, "journal cannot be written anew", slog.Any("error", err))
	}
}

// State is what waits in a storage.
type State struct {
	Undelivered int
	Oldest      time.Time // when the oldest of these began; zero if there is none
}

// State says what waits in each storage.
func (j *Journal) State() map[string]State {
	j.mu.Lock()
	defer j.mu.Unlock()
	states := map[string]State{}
	for name, v := range j.volumes {
		states[name] = State{Undelivered: v.undelivered}
	}
	for _, q := range j.queues {
		s := states[q.volume.name]
		for _, e := range q.entries {
			if e.isSettled() && e.changes != "" && (s.Oldest.IsZero() || e.At.Before(s.Oldest)) {
				s.Oldest = e.At
			}
		}
		states[q.volume.name] = s
	}
	return states
}
