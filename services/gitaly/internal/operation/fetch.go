package operation

import (
	"context"

	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
)

// ResolveIn is Resolve in another repository of the installation, nil for this one. The
// commit and all that it needs are copied into the quarantine.
func (w *Work) ResolveIn(ctx context.Context, other remote.Repository, revision string) (string, error) {
	if other == nil {
		return w.Resolve(revision)
	}
	if err := ref.CheckRevision(revision); err != nil {
		return "", err
	}
	oid, err := other.Resolve(ctx, revision)
	if err != nil {
		return "", err
	}
	return oid, w.s.o.Remotes.Fetch(ctx, w.view(), other, remote.FetchOptions{Refspecs: []string{oid}, Trusted: true})
}
