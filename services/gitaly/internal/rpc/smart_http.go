package rpc

import (
	"errors"
	"fmt"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// SmartHTTP is SmartHTTPService: git's commands as a client of HTTP asks for them,
// one request at a time.
type SmartHTTP struct {
	gitalypb.UnimplementedSmartHTTPServiceServer
	*Deps
}

// httpFailed is FailedPrecondition for a git that failed, with the text around.
func httpFailed(err error, text string) error {
	var e *gitcmd.Error
	if errors.As(err, &e) && !gitcmd.Short(err) {
		return errs.Wrap(errs.FailedPrecondition, fmt.Sprintf("%s: %v", text, e.Err), err)
	}
	return err
}
