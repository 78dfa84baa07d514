package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"gitsplit/e2e/internal/user"
	"gitsplit/kit/fault"
)

// perRound is how many commands of clients one random fault hits.
const perRound = 8

// TestRandom is the long form: it makes FAULTS_TRIALS trials, none if that is not set, of
// pushes, forced pushes, new and deleted references, merges and clones, each held at a random
// point or nowhere, and breaks something at random. SEED repeats a run of as many instances
// (FAULTS_SITES): the same commands and faults in the same order, though not the same instants.
func TestRandom(t *testing.T) {
	t.Parallel()
	trials, seed := setting("FAULTS_TRIALS", 0), uint64(setting("SEED", int(time.Now().Unix()%100000)))
	if trials == 0 {
		return
	}
	t.Logf("SEED=%d", seed)
	results, parts := newTable(), setting("FAULTS_SITES", 2)
	var sites sync.WaitGroup
	for part := range parts {
		s := newSite(t)
		sites.Go(func() {
			dice := rand.New(rand.NewPCG(seed, uint64(part)))
			if err := s.gamble(t, dice, (trials+parts-1)/parts, results, fmt.Sprintf("SEED=%d, part %d", seed, part)); err != nil {
				t.Error(err)
			}
		})
	}
	sites.Wait()
	results.print(os.Stdout, "random faults")
}

// gamble makes that many trials.
func (s *site) gamble(t *testing.T, dice *rand.Rand, trials int, results *table, run string) error {
	rows := breakages(time.Duration(setting("FAULTS_STOP", 2)) * time.Second)
	var lanes []*lane
	for i := range perRound {
		l, err := s.newLane(t.Context(), []string{"ssh", "http"}[i%2])
		if err != nil {
			return err
		}
		lanes = append(lanes, l)
	}
	for done := 0; done < trials; {
		b := rows[dice.IntN(len(rows))]
		b.do = after(time.Duration(dice.IntN(400))*time.Millisecond, b.do)
		var jobs []*job
		for _, l := range lanes {
			j, err := l.anything(t.Context(), dice)
			if err != nil {
				return err
			}
			if b.fits == nil || j.point == "" || b.fits(j) { // else it is about what runs at a point
				jobs = append(jobs, j)
			}
		}
		for j, v := range s.round(t.Context(), jobs, b, dice.IntN(2) == 0) {
			results.add(b.name, j.name(), v)
			for _, text := range v.all() {
				t.Errorf("%s, trial %d, %q %s × %s (project %d, %s): %s", run, done, j.args, j.name(), b.name, j.lane.id, s.dir, text)
			}
		}
		done += len(jobs)
	}
	return nil
}

// after lets some time go by before something breaks, so that jobs that are held
// nowhere are somewhere.
func after(pause time.Duration, do func(context.Context, *site, []*job) (func() error, error)) func(context.Context, *site, []*job) (func() error, error) {
	return func(ctx context.Context, s *site, jobs []*job) (func() error, error) {
		<-time.After(pause)
		undo, err := do(ctx, s, jobs)
		if errors.Is(err, errNobody) { // has ended by itself meanwhile
			err = nil
		}
		return undo, err
	}
}

// anything makes up a command of a client.
func (l *lane) anything(ctx context.Context, dice *rand.Rand) (*job, error) {
	if err := l.commit(ctx, int64(1000+dice.IntN(200<<10))); err != nil {
		return nil, err
	}
	tip, err := l.git(ctx, l.work, "rev-parse", "main")
	if err != nil {
		return nil, err
	}
	older, err := l.git(ctx, l.work, "rev-parse", "main~1")
	if err != nil {
		return nil, err
	}
	all := append(points(), "", "")
	j := &job{lane: l, point: all[dice.IntN(len(all))], maybe: true}
	switch name := user.RandomHex(4); dice.IntN(7) {
	case 0:
		j.clone, j.point = true, []string{fault.MidClone, ""}[dice.IntN(2)]
	case 1:
		j.args, j.wants = []string{":refs/heads/side"}, refs{"refs/heads/side": ""}
	case 2:
		j.args = []string{"main:refs/heads/new-" + name, "main:refs/tags/tag-" + name}
		j.wants = refs{"refs/heads/new-" + name: tip, "refs/tags/tag-" + name: tip}
	case 4:
		j.merge, j.point = true, append(mergePoints(), "")[dice.IntN(6)]
	case 3:
		j.args, j.wants = []string{"+main~1:refs/heads/side"}, refs{"refs/heads/side": older}
	}
	return j, nil
}

// TestMutation shows that the suite would notice: a gitaly that does not write its
// journal loses the event of a push when it dies after the references have moved.
func TestMutation(t *testing.T) {
	t.Parallel()
	s := newSite(t, fault.EnvMutation+"="+fault.SkipJournal)
	l, err := s.newLane(t.Context(), "ssh")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.commit(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	j := &job{lane: l, point: fault.AfterRefs}
	s.patience = 5 * time.Second
	killed := breakage{name: "gitaly killed", do: toService("gitaly", 9)}
	if v := s.round(t.Context(), []*job{j}, killed, false)[j]; len(v.lost) == 0 {
		t.Errorf("no event is lost without the journal: %+v", v)
	}
}
