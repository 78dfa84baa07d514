package admin

import (
	"context"
	"errors"
	"flag"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/postgres"
)

func jobCommands() []command {
	return []command{
		{words: "job queues", help: "how many jobs there are, by kind and state", run: showQueues},
		{words: "job list", help: "jobs, newest first; without --state those that failed", run: listJobs, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.state, "state", "retryable,discarded,cancelled", "`STATE,…`")
		}},
		{words: "job retry", args: "[ID]", help: "do a job again now, or with --all every one that failed", run: retryJobs, flags: func(fs *flag.FlagSet, o *options) {
			fs.BoolVar(&o.all, "all", false, "")
		}},
		{words: "job discard", args: "ID", help: "remove a job that is not running", destroys: true, run: discardJob},
	}
}

func showQueues(ctx context.Context, c *call) error {
	type count struct {
		Queue, Kind, State string
		Jobs               int64
	}
	const query = "SELECT queue, kind, state::text, count(*) FROM river_job GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
	list, err := postgres.All(ctx, c.DB, "job", pgx.RowToStructByPos[count], query)
	if err != nil {
		return err
	}
	if err := c.out.head("queue", "kind", "state", "jobs"); err != nil {
		return err
	}
	for _, n := range list {
		if err := c.out.row(n.Queue, n.Kind, n.State, n.Jobs); err != nil {
			return err
		}
	}
	return nil
}

func listJobs(ctx context.Context, c *call) error {
	states, err := jobStates(c.state)
	if err != nil {
		return err
	}
	if err := c.out.head("id", "kind", "state", "attempt", "max_attempts", "scheduled_at", "arguments", "error"); err != nil {
		return err
	}
	return c.eachJob(ctx, states, func(j *rivertype.JobRow) error {
		var last string
		if n := len(j.Errors); n > 0 {
			last = j.Errors[n-1].Error
		}
		return c.out.row(j.ID, j.Kind, j.State, j.Attempt, j.MaxAttempts, j.ScheduledAt, string(j.EncodedArgs), last)
	})
}

func jobStates(text string) ([]rivertype.JobState, error) {
	var states []rivertype.JobState
	for _, name := range strings.Split(text, ",") {
		known := false
		for _, s := range rivertype.JobStates() {
			if string(s) == name {
				states, known = append(states, s), true
			}
		}
		if !known {
			return nil, &UsageError{Text: "--state: there is no state \"" + name + "\" of jobs"}
		}
	}
	return states, nil
}

// eachJob reads page by page; what do changes about a job does not disturb it.
func (c *call) eachJob(ctx context.Context, states []rivertype.JobState, do func(*rivertype.JobRow) error) error {
	params := river.NewJobListParams().States(states...).First(200).OrderBy(river.JobListOrderByID, river.SortOrderDesc)
	for {
		page, err := c.Jobs.JobList(ctx, params)
		if err != nil {
			return postgres.Error(err, "job")
		}
		for _, j := range page.Jobs {
			if err := do(j); err != nil {
				return err
			}
		}
		if page.LastCursor == nil {
			return nil
		}
		params = params.After(page.LastCursor)
	}
}

func retryJobs(ctx context.Context, c *call) error {
	if c.all == (c.arg(0) != "") {
		return &UsageError{Text: "job retry wants the id of a job, or --all"}
	}
	if err := c.out.head("id", "kind", "state"); err != nil {
		return err
	}
	retry := func(id int64) error {
		j, err := c.Jobs.JobRetry(ctx, id)
		if err != nil {
			return jobError(id, err)
		}
		return c.out.row(j.ID, j.Kind, j.State)
	}
	if !c.all {
		id, err := c.id(0)
		if err != nil {
			return err
		}
		return retry(id)
	}
	failed := []rivertype.JobState{rivertype.JobStateRetryable, rivertype.JobStateDiscarded}
	return c.eachJob(ctx, failed, func(j *rivertype.JobRow) error { return retry(j.ID) })
}

func discardJob(ctx context.Context, c *call) error {
	id, err := c.id(0)
	if err != nil {
		return err
	}
	_, err = c.Jobs.JobDelete(ctx, id)
	return jobError(id, err)
}

func jobError(id int64, err error) error {
	switch {
	case errors.Is(err, rivertype.ErrNotFound):
		return errs.Newf(errs.NotFound, "there is no job %d", id)
	case errors.Is(err, rivertype.ErrJobRunning):
		return errs.Newf(errs.Conflict, "job %d is running", id)
	}
	return postgres.Error(err, "job")
}
