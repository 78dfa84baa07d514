// Package jobs names the background jobs and their arguments, which are ids and
// never content. The worker (package worker) does them; every one of them may run
// more than once.
package jobs

import "github.com/riverqueue/river"

// PostReceive follows from a push: refreshes what is derived from the repository.
type PostReceive struct {
	PushEventID   int64  `json:"push_event_id"`
	ProjectID     int64  `json:"project_id"`
	CorrelationID string `json:"correlation_id"`
}

// Kind names the job in the database.
func (PostReceive) Kind() string { return "post_receive" }

// LFSCleanup removes large files that no project has any more.
type LFSCleanup struct{}

// Kind names the job in the database.
func (LFSCleanup) Kind() string { return "lfs_cleanup" }

// UploadCleanup removes what is left of uploads that nobody finished.
type UploadCleanup struct{}

// Kind names the job in the database.
func (UploadCleanup) Kind() string { return "upload_cleanup" }

// Reconcile records what no push reported, in all projects, and forgets what was
// kept for reports that come late.
type Reconcile struct{}

// Kind names the job in the database.
func (Reconcile) Kind() string { return "reconcile" }

// InsertOpts puts it into a queue of its own, one at a time and beside all others.
func (Reconcile) InsertOpts() river.InsertOpts { return river.InsertOpts{Queue: QueueReconcile} }

// QueueReconcile is the queue of Reconcile.
const QueueReconcile = "reconcile"

// ProjectCleanup finishes the removal of a project, or removes one half made.
type ProjectCleanup struct {
	ProjectID int64 `json:"project_id"`
}

// Kind names the job in the database.
func (ProjectCleanup) Kind() string { return "project_cleanup" }

// MoveRepositories does what is due of the moves of repositories, which are rows (package repomove).
type MoveRepositories struct{}

// Kind names the job in the database.
func (MoveRepositories) Kind() string { return "move_repositories" }

// InsertOpts puts it into a queue of its own: a move may take hours.
func (MoveRepositories) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueMoves, MaxAttempts: 1}
}

// QueueMoves is the queue of MoveRepositories.
const QueueMoves = "moves"

// RemoveCopy removes a copy of a repository that a move left behind.
type RemoveCopy struct {
	Storage string `json:"storage"`
	Path    string `json:"path"`
	// Checksum is that of the references when the repository moved away, "" for a copy that nobody worked with.
	Checksum string `json:"checksum,omitempty"`
}

// Kind names the job in the database.
func (RemoveCopy) Kind() string { return "remove_copy" }

// Fork gives a project that is a fork its repository and its large files.
type Fork struct {
	ProjectID int64  `json:"project_id"`
	Storage   string `json:"storage"` // of the repository, also if the project is gone
	Branch    string `json:"branch"`  // the only one to take; "" is all, and the tags
}

// Kind names the job in the database.
func (Fork) Kind() string { return "fork" }

// InsertOpts bounds the attempts: they end after an hour and a half, and the fork has failed.
func (Fork) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueForks, MaxAttempts: forkAttempts}
}

// JoinPool lets a fork borrow what it shares with its source.
type JoinPool struct {
	ProjectID int64 `json:"project_id"` // the fork
}

// Kind names the job in the database.
func (JoinPool) Kind() string { return "join_pool" }

// InsertOpts bounds the attempts: a fork is whole without a pool.
func (JoinPool) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: QueueForks, MaxAttempts: forkAttempts}
}

// QueueForks is the queue of the jobs that copy repositories, beside all others: they may take long.
const (
	QueueForks   = "forks"
	forkAttempts = 8
)
