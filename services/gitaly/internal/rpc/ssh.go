package rpc

import (
	"errors"
	"fmt"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// SSH is SSHService: git's commands as a client of SSH runs them.
type SSH struct {
	gitalypb.UnimplementedSSHServiceServer
	*Deps
}

// exited returns git's exit status if git itself failed.
func exited(err error) (int32, bool) {
	var e *gitcmd.Error
	if !errors.As(err, &e) {
		return 0, false
	}
	return int32(e.Code), true //nolint:gosec // an exit status
}

// commandFailed has the wording of wire/gitaly.md §5.4 for a git that failed.
func commandFailed(err error) error {
	var e *gitcmd.Error
	if errors.As(err, &e) && !gitcmd.Short(err) {
		return fmt.Errorf("cmd wait: %w", e.Err)
	}
	return err
}
