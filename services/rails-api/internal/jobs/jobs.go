// Package jobs names the background jobs and their arguments, which are ids and
// never content. The worker (package worker) does them; every one of them may run
// more than once.
package jobs

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

// ProjectCleanup finishes the removal of a project, or removes one half made.
type ProjectCleanup struct {
	ProjectID int64 `json:"project_id"`
}

// Kind names the job in the database.
func (ProjectCleanup) Kind() string { return "project_cleanup" }
