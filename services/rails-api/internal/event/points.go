package event

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"gitsplit/kit/fault"
	"gitsplit/services/rails-api/internal/jobs"
)

// heldJobs are jobs whose insertion, the last step before a push is committed, is a
// point of the fault suite.
type heldJobs struct{ Jobs }

// InsertTx inserts a job.
func (h heldJobs) InsertTx(ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error) {
	result, err := h.Jobs.InsertTx(ctx, tx, args, opts)
	if push, ok := args.(jobs.PostReceive); ok && fault.Enabled {
		fault.Point(ctx, fault.BeforeCommit, fmt.Sprintf("project-%d", push.ProjectID))
	}
	return result, err
}
