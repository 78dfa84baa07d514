package session

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/shell/internal/command"
	"gitsplit/services/shell/internal/console"
)

// Texts of wire/gitlab-shell.md §5.
const (
	textGitalyDown = "The git server, Gitaly, is not available at this time. Please contact your administrator."
	textGitalyBusy = "GitLab is currently unable to handle this request due to load."
	textBadLine    = "Failed to parse command: Invalid SSH command: "
)

const (
	exitFailure = 1
	exitUnknown = 128
)

// errGitFailed is git's own failure: its stderr has been relayed.
var errGitFailed = status.Error(codes.Internal, "git ended with a failure")

// prefixError puts words before the text of another error.
type prefixError struct {
	prefix string
	err    error
}

func (e *prefixError) Error() string { return e.prefix + e.err.Error() }
func (e *prefixError) Unwrap() error { return e.err }

// outcome is how a session ends that did not succeed.
type outcome struct {
	exit   int
	text   string // for the user
	silent bool   // the user has been told, or is gone
	ours   bool   // a fault of the system, not a refusal
}

// tellForced says why a forced command failed: what is no command in one plain line,
// all else in a box without a heading, and gRPC in gRPC's own words.
func (o outcome) tellForced(w io.Writer, err error) error {
	if _, unknown := errors.AsType[*command.UnknownError](err); unknown {
		return console.Plain(w, command.ErrDisallowed.Error())
	}
	if errors.Is(err, command.ErrSyntax) {
		return console.Plain(w, "Invalid SSH command: "+command.ErrSyntax.Error())
	}
	text := o.text
	if st, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		text = status.Error(st.GRPCStatus().Code(), text).Error()
	}
	return console.Refusal(w, text)
}

// explain decides what the user is told about err.
func explain(ctx context.Context, err error) outcome {
	if ctx.Err() != nil {
		// Either the server says goodbye, or there is nobody left to tell.
		text := errs.Message(context.Cause(ctx))
		return outcome{exit: exitFailure, text: text, silent: text == ""}
	}
	if p, ok := errors.AsType[*prefixError](err); ok {
		out := explain(ctx, p.err)
		out.text = p.prefix + out.text
		return out
	}
	if out, ok := explainCommand(err); ok {
		return out
	}
	if out, ok := explainAPI(err); ok {
		return out
	}
	if st, ok := errors.AsType[interface {
		error
		GRPCStatus() *status.Status
	}](err); ok {
		return explainGitaly(st.GRPCStatus())
	}
	if e, ok := errors.AsType[*errs.Error](err); ok {
		return outcome{exit: exitFailure, text: e.Msg, ours: e.Kind == errs.Internal}
	}
	if _, broken := errors.AsType[*net.OpError](err); broken || errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) {
		// The client, or the sshd before it, closed its end in the middle.
		return outcome{exit: exitFailure, silent: true}
	}
	text := "Internal error. Please contact your administrator and give this id: " + correlation.ID(ctx)
	return outcome{exit: exitFailure, text: text, ours: true}
}

// explainCommand covers lines that are no command.
func explainCommand(err error) (outcome, bool) {
	if e, ok := errors.AsType[*command.UnknownError](err); ok {
		return outcome{exit: exitUnknown, text: e.Error()}, true
	}
	switch {
	case errors.Is(err, command.ErrSyntax):
		return outcome{exit: exitUnknown, text: textBadLine + command.ErrSyntax.Error()}, true
	case errors.Is(err, command.ErrDisallowed):
		return outcome{exit: exitFailure, text: command.ErrDisallowed.Error()}, true
	}
	return outcome{}, false
}

// explainAPI covers the internal API (wire/internal-api.md §1.6): 4xx other than
// 400 are policy, everything else is a fault.
func explainAPI(err error) (outcome, bool) {
	if e, ok := errors.AsType[*internalapi.Error](err); ok {
		policy := e.Status > 400 && e.Status < 500
		return outcome{exit: exitFailure, text: e.Message, ours: !policy}, true
	}
	if e, ok := errors.AsType[*internalapi.DecodeError](err); ok {
		return outcome{exit: exitFailure, text: e.Error(), ours: true}, true
	}
	if errors.Is(err, internalapi.ErrUnreachable) {
		return outcome{exit: exitFailure, text: internalapi.ErrUnreachable.Error(), ours: true}, true
	}
	return outcome{}, false
}

// explainGitaly covers gRPC. After an Internal git itself has spoken on stderr.
func explainGitaly(st *status.Status) outcome {
	out := outcome{exit: exitFailure, text: st.Message()}
	switch st.Code() {
	case codes.Internal:
		if strings.Contains(st.Message(), "sidechannel: ") {
			// gRPC repeated the call with a gitaly that came back; the data of the
			// first call are gone, so this one could not begin.
			return outcome{exit: exitFailure, text: textGitalyDown}
		}
		out.silent = true
		out.ours = !strings.Contains(st.Message(), "upload-pack: not our ref")
	case codes.Unavailable:
		out.text = textGitalyDown
		if limited(st) {
			out.text = textGitalyBusy
		}
	case codes.Canceled:
	default:
		out.ours = true
	}
	return out
}

func limited(st *status.Status) bool {
	for _, detail := range st.Details() {
		if _, ok := detail.(*gitalypb.LimitError); ok {
			return true
		}
	}
	return false
}
