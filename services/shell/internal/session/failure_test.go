package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/internalapi"
	"gitsplit/services/shell/internal/command"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		err  error
		want outcome
	}{
		{"unknown command", &command.UnknownError{Line: "ls"}, outcome{exit: 128, text: "Unknown command: ls"}},
		{"disallowed", command.ErrDisallowed, outcome{exit: 1, text: "Disallowed command"}},
		{"policy", &internalapi.Error{Status: 404, Message: "m"}, outcome{exit: 1, text: "m"}},
		{"bad request is ours", &internalapi.Error{Status: 400, Message: "m"}, outcome{exit: 1, text: "m", ours: true}},
		{"API fault", &internalapi.Error{Status: 501, Message: "m"}, outcome{exit: 1, text: "m", ours: true}},
		{"API down", fmt.Errorf("%w: connection refused", internalapi.ErrUnreachable),
			outcome{exit: 1, text: "Internal API unreachable", ours: true}},
		{"API nonsense", &internalapi.DecodeError{Err: errors.New("line 1")}, outcome{exit: 1, text: "parsing failed", ours: true}},
		{"prefix", &prefixError{"p: ", &internalapi.Error{Status: 403, Message: "m"}}, outcome{exit: 1, text: "p: m"}},
		{"status", status.Error(codes.NotFound, "m"), outcome{exit: 1, text: "m", ours: true}},
		{"wrapped status", fmt.Errorf("relay: %w", status.Error(codes.NotFound, "m")), outcome{exit: 1, text: "m", ours: true}},
		{"git failed", status.Error(codes.Internal, "exit status 128"),
			outcome{exit: 1, text: "exit status 128", silent: true, ours: true}},
		{"not our ref", status.Error(codes.Internal, `stderr: "fatal: git upload-pack: not our ref x"`),
			outcome{exit: 1, text: `stderr: "fatal: git upload-pack: not our ref x"`, silent: true}},
		{"gitaly gone and back", status.Error(codes.Internal, "opennig sidechannel: sidechannel: receive confirmation: EOF"),
			outcome{exit: 1, text: textGitalyDown}},
		{"gitaly gone", status.Error(codes.Unavailable, "EOF"), outcome{exit: 1, text: textGitalyDown}},
		{"cancelled by gitaly", status.Error(codes.Canceled, "user canceled the push"), outcome{exit: 1, text: "user canceled the push"}},
		{"refusal", errs.New(errs.Denied, "m"), outcome{exit: 1, text: "m"}},
		{"client closed its end", fmt.Errorf("write: %w", io.EOF), outcome{exit: 1, silent: true}},
		{"connection lost", fmt.Errorf("write: %w", &net.OpError{Op: "write", Err: net.ErrClosed}), outcome{exit: 1, silent: true}},
		{"anything else", errors.New("nil map"), outcome{exit: 1, ours: true,
			text: "Internal error. Please contact your administrator and give this id: the-id"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := explain(correlation.With(context.Background(), "the-id"), tc.err)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("explain(%v) (-want +got):\n%s", tc.err, diff)
			}
		})
	}
}

// Once the session is over, its end is the reason, whatever broke because of it.
func TestExplain_sessionEnded(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		cause error
		want  outcome
	}{
		{"client gone", nil, outcome{exit: 1, silent: true}},
		{"server stops", errs.New(errs.Unavailable, "bye"), outcome{exit: 1, text: "bye"}},
	} {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(tc.cause)
		got := explain(ctx, status.Error(codes.Unavailable, "x"))
		if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}
