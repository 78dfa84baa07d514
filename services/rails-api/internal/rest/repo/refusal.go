package repo

import (
	"strings"

	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/proto/go/gitalypb"
)

// refusal turns the error of a change into ours. What a hook or the rights service said stands in the details of the status
// (wire/gitaly.md §17) and is what the person reads.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	converted := grpcx.FromStatus(err)
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *gitalypb.UserCreateBranchError:
			return refusedBy(converted, nil, d.GetCustomHook())
		case *gitalypb.UserDeleteBranchError:
			return refusedBy(converted, d.GetAccessCheck(), d.GetCustomHook())
		}
	}
	return converted
}

func refusedBy(err error, check *gitalypb.AccessCheckError, hook *gitalypb.CustomHookError) error {
	switch {
	case check != nil:
		return errs.Wrap(errs.Denied, check.GetErrorMessage(), err)
	case hook != nil:
		text := string(hook.GetStderr())
		if strings.TrimSpace(text) == "" {
			text = string(hook.GetStdout())
		}
		text = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(text), "GitLab: "))
		return errs.Wrap(errs.Denied, text, err)
	}
	return err
}
