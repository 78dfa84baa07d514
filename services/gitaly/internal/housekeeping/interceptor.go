package housekeeping

import (
	"context"

	"gitsplit/services/gitaly/internal/method"
	"gitsplit/services/gitaly/internal/storage"
)

// Interceptors count the RPCs that have changed a repository. They run innermost, so
// that refused calls do not count.
func Interceptors(scheduler *Scheduler, locator method.Locator) method.Outcomes {
	return method.Outcomes{
		Locator: locator,
		Wanted:  func(m method.Method, err error) bool { return err == nil && m.Mutates() },
		Ended:   func(_ context.Context, repo *storage.Repo, _ error) { scheduler.Wrote(repo) },
	}
}
