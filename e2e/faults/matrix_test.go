package faults_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gitsplit/kit/fault"
)

// points are where a push is held, in order.
func points() []string {
	return []string{
		fault.AfterKeyLookup, fault.AfterAccessCheck, fault.MidPack, fault.AfterPack, fault.BeforeAllowed, fault.AfterAllowed,
		fault.AfterPreReceive, fault.BeforeRef, fault.AfterRefs, fault.BeforeCommit, fault.AfterCommit, fault.BeforeExitStatus,
	}
}

// mergePoints are those of a merge, whose hooks gitaly carries out by itself.
func mergePoints() []string {
	return []string{fault.BeforeAllowed, fault.AfterAllowed, fault.AfterPreReceive, fault.BeforeCommit, fault.AfterCommit}
}

// columns are all pairs of a point and a transport.
func columns() []column {
	var all []column
	for _, transport := range []string{"ssh", "http"} {
		for _, point := range append(points(), fault.MidClone) {
			all = append(all, column{point, transport})
		}
	}
	for _, point := range mergePoints() {
		all = append(all, column{point, "merge"})
	}
	return all
}

type column struct{ point, transport string }

// setting reads a number from the environment, for the long form.
func setting(name string, otherwise int) int {
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		return otherwise
	}
	return n
}

// TestMatrix breaks everything at every point. The short form takes a part of each
// row, such that every fault and every point occurs; FAULTS_PASSES (a number) runs
// all cells so many times, FAULTS_STOP is how many seconds a stopped process stays so,
// FAULTS_ONLY a part of the names of the faults to run.
func TestMatrix(t *testing.T) {
	t.Parallel()
	passes, seed := setting("FAULTS_PASSES", 0), setting("SEED", 1)
	rows := breakages(time.Duration(setting("FAULTS_STOP", 2)) * time.Second)
	tasks := make(chan task)
	go func() {
		defer close(tasks)
		for pass := range max(1, passes) {
			for i, b := range rows {
				if !strings.Contains(b.name, os.Getenv("FAULTS_ONLY")) {
					continue
				}
				part := columns()
				if passes == 0 {
					part = sample(part, i, len(rows))
				}
				tasks <- task{b, part, rand.New(rand.NewPCG(uint64(seed), uint64(pass*len(rows)+i))).IntN(2) == 0}
			}
		}
	}()
	results := newTable()
	var sites sync.WaitGroup
	for range setting("FAULTS_SITES", 2) {
		s := newSite(t)
		sites.Go(func() { s.work(t, tasks, results) })
	}
	sites.Wait()
	results.print(os.Stdout, "faults")
	if sum := results.total(); passes == 0 && sum.trials == 0 {
		t.Error("no trials")
	}
}

// task is one round.
type task struct {
	breakage
	columns []column
	late    bool
}

// sample takes every so-manieth column, so that row after row takes others.
func sample(all []column, i, rows int) (part []column) {
	const each = 3
	for k := range each {
		part = append(part, all[(i*each+k*(len(all)/each)+i)%len(all)])
	}
	return part
}

// midPackSize makes a pack that has a middle.
const midPackSize = 150 << 10

// jobs prepares a round: lanes are made where there are none yet.
func (s *site) jobs(ctx context.Context, task task, lanes map[column]*lane) (jobs []*job, err error) {
	for _, c := range task.columns {
		j := &job{lane: &lane{transport: c.transport}, point: c.point, clone: c.point == fault.MidClone, merge: c.transport == "merge"}
		if task.fits == nil || task.fits(j) {
			jobs = append(jobs, j)
		}
	}
	var mu sync.Mutex
	each(jobs, func(j *job) {
		c := column{j.point, j.lane.transport}
		mu.Lock()
		l := lanes[c]
		mu.Unlock()
		var failed error
		if l == nil {
			l, failed = s.newLane(ctx, c.transport)
		}
		size := int64(1000)
		if c.point == fault.MidPack {
			size = midPackSize
		}
		if failed == nil && !j.clone {
			failed = l.commit(ctx, size)
		}
		mu.Lock()
		defer mu.Unlock()
		lanes[c], j.lane, err = l, l, errors.Join(err, failed)
	})
	return jobs, err
}

// work runs rounds until there are no more.
func (s *site) work(t *testing.T, tasks <-chan task, results *table) {
	lanes := map[column]*lane{}
	for task := range tasks {
		jobs, err := s.jobs(t.Context(), task, lanes)
		if err != nil {
			t.Errorf("%s: %v", task.name, err)
			return
		}
		began := time.Now()
		for j, v := range s.round(t.Context(), jobs, task.breakage, task.late) {
			results.add(task.name, j.name(), v)
			for _, text := range v.all() {
				t.Errorf("%s × %s (late %v, project %d, %s): %s", j.name(), task.name, task.late, j.lane.id, s.dir, text)
			}
		}
		t.Logf("%s: %d trials in %v", task.name, len(jobs), time.Since(began).Round(time.Millisecond))
	}
}
