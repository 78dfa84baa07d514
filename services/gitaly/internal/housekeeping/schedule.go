package housekeeping

import (
	"context"
	"log/slog"
	"sync"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/storage"
)

// After how many writes a repository is due (wire/gitaly.md §15).
const (
	writesUntilReferences = 10
	writesUntilDue        = 20
)

// remembered bounds the repositories whose writes are counted, and those that wait.
const remembered = 4096

// Scheduler keeps the repositories that are written to. What it knows is in memory
// only: after a restart counting begins anew, and daily maintenance comes by anyway.
// It is safe for concurrent use.
type Scheduler struct {
	manager *Manager
	due     chan struct{} // holds a token for each place in queue

	mu     sync.Mutex
	counts generations
	queue  []string // directories, the next one first
	jobs   map[string]job
}

type job struct {
	repo     *storage.Repo
	strategy Strategy
}

// writes are those of one repository since it was last due.
type writes struct{ all, references int }

// generations is a map that forgets what was not used for long: when the young half
// is full it becomes the old one, and the old one goes.
type generations struct{ young, old map[string]writes }

// NewScheduler returns a scheduler for the manager. Run must be called for anything to
// happen.
func NewScheduler(m *Manager) *Scheduler {
	return &Scheduler{
		manager: m, due: make(chan struct{}, remembered), jobs: map[string]job{},
		counts: generations{young: map[string]writes{}},
	}
}

// Wrote counts a write to the repository, which may be due then.
func (s *Scheduler) Wrote(repo *storage.Repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.counts.take(repo.Dir)
	w.all++
	w.references++
	switch {
	case w.all > writesUntilDue && s.enqueue(repo, Heuristical):
		return // counting begins anew
	case w.references > writesUntilReferences && w.all <= writesUntilDue && s.enqueue(repo, References):
		w.references = 0
	}
	s.counts.put(repo.Dir, w)
}

// Check makes a repository due that is marked for a check.
func (s *Scheduler) Check(repo *storage.Repo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueue(repo, Heuristical) // if too many are due: daily maintenance comes by
}

// enqueue makes the repository due, unless too many are. s.mu is held.
func (s *Scheduler) enqueue(repo *storage.Repo, strategy Strategy) bool {
	if j, ok := s.jobs[repo.Dir]; ok {
		if strategy == Heuristical { // it includes the other
			j.strategy = strategy
			s.jobs[repo.Dir] = j
		}
		return true
	}
	select {
	case s.due <- struct{}{}:
	default:
		return false // it is counted on, and asks again with its next write
	}
	s.queue = append(s.queue, repo.Dir)
	s.jobs[repo.Dir] = job{repo, strategy}
	s.manager.o.Observer.HousekeepingDue(len(s.queue))
	return true
}

// Run works until ctx ends. What is under way then ends, too.
func (s *Scheduler) Run(ctx context.Context) {
	var workers sync.WaitGroup
	for range cap(s.manager.slots) {
		workers.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-s.due:
					s.manager.visit(ctx, s.next())
				}
			}
		})
	}
	workers.Wait()
}

func (s *Scheduler) next() job {
	s.mu.Lock()
	defer s.mu.Unlock()
	dir := s.queue[0]
	s.queue = s.queue[1:]
	j := s.jobs[dir]
	delete(s.jobs, dir)
	s.manager.o.Observer.HousekeepingDue(len(s.queue))
	return j
}

// visit optimizes a repository for nobody: what fails is only logged.
func (m *Manager) visit(ctx context.Context, j job) {
	if ok, err := j.repo.Exists(); !ok && err == nil {
		if err := m.o.Marks.Clear(j.repo); err != nil {
			m.o.Log.WarnContext(ctx, "mark of a repository that is gone stays", slog.Any("error", err))
		}
		return
	}
	err := m.Optimize(ctx, j.repo, j.strategy)
	switch kind := errs.KindOf(err); {
	case err == nil, ctx.Err() != nil, kind == errs.Exists, kind == errs.NotFound:
	default:
		m.o.Log.ErrorContext(ctx, "housekeeping failed", slog.String("repository", j.repo.RelativePath),
			slog.String("storage", j.repo.Storage.Name), slog.Any("error", err))
	}
}

// take returns the writes of a repository and forgets them.
func (g *generations) take(dir string) writes {
	w, ok := g.young[dir]
	if !ok {
		w = g.old[dir]
	}
	delete(g.young, dir)
	delete(g.old, dir)
	return w
}

func (g *generations) put(dir string, w writes) {
	if len(g.young) >= remembered {
		g.young, g.old = map[string]writes{}, g.young
	}
	g.young[dir] = w
}
