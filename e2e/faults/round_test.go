package faults_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// arrivalTime bounds the time until all jobs of a round are where they are to be held.
const arrivalTime = 2 * time.Minute

// round starts the jobs, breaks something when each is at its point, and looks at
// what has become of them when all is well again. Jobs are in lanes of their own.
func (s *site) round(ctx context.Context, jobs []*job, b breakage, late bool) map[*job]verdict {
	found := map[*job]*verdict{}
	for _, j := range jobs {
		found[j] = &verdict{}
	}
	note := func(err error) {
		for _, j := range jobs {
			if err != nil {
				found[j].other = append(found[j].other, err.Error())
			}
		}
	}
	each(jobs, func(j *job) {
		if err := j.start(ctx); err != nil {
			found[j].other = append(found[j].other, err.Error())
		}
	})
	arrived, cancel := context.WithTimeout(ctx, arrivalTime)
	defer cancel()
	each(jobs, func(j *job) {
		if j.exited == nil {
			return
		}
		err := j.held(arrived)
		if errors.Is(err, errEarly) && j.code == 0 { // all is well, but slow: a late report is sent when the push is over
			found[j].lies = j.truth(ctx)
			if err = j.again(ctx); err == nil {
				err = j.held(arrived)
			}
		}
		if err != nil {
			found[j].other = append(found[j].other, err.Error())
		}
	})
	note(s.strike(ctx, jobs, b, late))
	note(s.whole(ctx))
	s.judge(ctx, jobs, found, b.silent)
	result := map[*job]verdict{}
	for j, v := range found {
		result[j] = *v
	}
	return result
}

// strike breaks something, lets the jobs go on, and puts it right again.
func (s *site) strike(ctx context.Context, jobs []*job, b breakage, late bool) error {
	undo, err := b.do(ctx, s, jobs)
	if undo == nil {
		undo = func() error { return nil }
	}
	if late && b.late {
		err = errors.Join(err, s.whole(ctx))
	}
	for _, j := range jobs {
		j.release()
		if j.exited != nil {
			defer time.AfterFunc(clientTimeout, j.giveUp).Stop()
		}
	}
	if b.lasts > 0 {
		ended := make(chan struct{})
		go func() { s.await(jobs); close(ended) }()
		timer := time.NewTimer(b.lasts)
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
		}
	}
	err = errors.Join(err, undo())
	s.await(jobs)
	return err
}

// await waits until all clients have ended.
func (s *site) await(jobs []*job) {
	for _, j := range jobs {
		if j.exited != nil {
			<-j.exited
		}
	}
}

// judge looks at everything that a trial may have harmed.
func (s *site) judge(ctx context.Context, jobs []*job, found map[*job]*verdict, silent bool) {
	left := s.clean(ctx, silent)
	each(jobs, func(j *job) {
		v := found[j]
		v.leftovers = append(v.leftovers, left...)
		if j.exited != nil {
			v.lies = append(v.lies, j.truth(ctx)...)
			if j.hung {
				v.other = append(v.other, fmt.Sprintf("the client hung for %v", clientTimeout))
			}
		}
		v.broken = j.lane.fsck(ctx)
	})
	s.compareEvents(ctx, jobs, found)
	each(jobs, func(j *job) {
		if err := j.lane.push(ctx); err != nil {
			found[j].stuck = append(found[j].stuck, err.Error())
		}
	})
	s.compareEvents(ctx, jobs, found)
}

func (s *site) compareEvents(ctx context.Context, jobs []*job, found map[*job]*verdict) {
	var lanes []*lane
	for _, j := range jobs {
		lanes = append(lanes, j.lane)
	}
	wrong, err := s.settle(ctx, lanes)
	for _, j := range jobs {
		v := found[j]
		v.lost, v.duplicated = append(v.lost, wrong[j.lane].lost...), append(v.duplicated, wrong[j.lane].duplicated...)
		if err != nil {
			v.other = append(v.other, err.Error())
		}
	}
}

// pushTime is in how long a push must work after a broken one.
const pushTime = 5 * time.Second

// push makes a small commit and pushes it until that works.
func (l *lane) push(ctx context.Context) error {
	if err := l.commit(ctx, 100); err != nil {
		return err
	}
	return poll(ctx, pushTime, func() error {
		_, err := l.git(ctx, l.work, "push", "-q", l.remote, "+main", "+side")
		return err
	})
}

// each calls f for all jobs, some at a time.
func each(jobs []*job, f func(j *job)) {
	turns := make(chan struct{}, 8)
	var all sync.WaitGroup
	for _, j := range jobs {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			f(j)
		})
	}
	all.Wait()
}

// name says what a job is, for the table.
func (j *job) name() string {
	point := j.point
	if point == "" {
		point = "any time"
	}
	transport := j.lane.transport
	if j.merge {
		transport = "merge"
	}
	return fmt.Sprintf("%s × %s", point, transport)
}
