// Package fault has the places at which the fault suite stops a process to break
// something. They exist in builds with the tag `faults` only:
//
//	if fault.Enabled {
//		fault.Point(ctx, fault.AfterAccessCheck, glRepository)
//	}
//
// Without the tag Enabled is the constant false, so that the compiler drops the
// whole statement, with its names and arguments: a release binary has no trace of it.
//
// With the tag a point still does nothing unless GITSPLIT_FAULTS names a Unix
// socket. Then the process tells who listens there where it is, one line of JSON
// (Reached), and goes on when it is answered with a byte or the connection ends.
package fault

// Variables of a build with the tag.
const (
	// EnvSocket is the path of the socket of who wants to know.
	EnvSocket = "GITSPLIT_FAULTS"
	// EnvMutation names a thing to do wrong on purpose, to see that the suite notices.
	EnvMutation = "GITSPLIT_FAULTS_MUTATION"
)

// Reached is what a process says at a point.
type Reached struct {
	Point         string `json:"point"`
	Subject       string `json:"subject"` // gl_repository, or "key-<id>" where that is not known yet
	CorrelationID string `json:"correlation_id"`
	PID           int    `json:"pid"`
}

// The points, in the order in which a push comes to them.
const (
	AfterKeyLookup   = "after-key-lookup"   // SSH: the key is known; HTTP: info/refs is permitted
	AfterAccessCheck = "after-access-check" // with changes `_any`; HTTP: the POST is permitted
	MidPack          = "mid-pack"           // gitaly has a part of the pack
	AfterPack        = "after-pack"         // gitaly-hooks was started as pre-receive
	BeforeAllowed    = "before-allowed"     // in pre-receive, before the real changes are judged
	AfterAllowed     = "after-allowed"
	AfterPreReceive  = "after-pre-receive" // the push is counted, not accepted yet
	BeforeRef        = "before-ref"        // gitaly-hooks was started as update; with the second reference: between two
	AfterRefs        = "after-refs"        // gitaly-hooks was started as post-receive
	BeforeCommit     = "before-commit"     // rails-api, in the transaction of the event
	AfterCommit      = "after-commit"      // rails-api, before it answers
	BeforeExitStatus = "before-exit-status"
	MidClone         = "mid-clone" // gitaly has sent a part of the pack
)

// SkipJournal is the mutation that lets pushes go unrecorded in gitaly's journal.
const SkipJournal = "skip-journal"
