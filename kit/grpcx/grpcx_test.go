package grpcx_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"gitsplit/kit/correlation"
	"gitsplit/kit/errs"
	"gitsplit/kit/grpcx"
	"gitsplit/kit/logging"
)

const rpc = "/gitaly.SSHService/SSHReceivePack"

func TestToStatus(t *testing.T) {
	t.Parallel()
	inner := status.Error(codes.Unavailable, "busy")
	for _, tc := range []struct {
		name string
		err  error
		code codes.Code
		text string
	}{
		{"nil", nil, codes.OK, ""},
		{"plain", io.ErrClosedPipe, codes.Internal, "internal error"},
		{"kind", errs.New(errs.NotFound, "repository not found"), codes.NotFound, "repository not found"},
		{"wrapped kind", fmt.Errorf("look: %w", errs.Wrap(errs.Denied, "no", io.EOF)), codes.PermissionDenied, "no"},
		{"kind without a message", errs.Wrap(errs.Conflict, "", io.EOF), codes.Aborted, "conflict"},
		{"status", inner, codes.Unavailable, "busy"},
		{"wrapped status", fmt.Errorf("open sidechannel: %w", inner), codes.Unavailable, "open sidechannel: busy"},
		{"joined status", errors.Join(inner, io.EOF), codes.Unavailable, "busy\nEOF"},
		{"canceled", fmt.Errorf("wait: %w", context.Canceled), codes.Canceled, "wait: context canceled"},
		{"late", context.DeadlineExceeded, codes.DeadlineExceeded, "context deadline exceeded"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if st := status.Convert(grpcx.ToStatus(tc.err)); st.Code() != tc.code || st.Message() != tc.text {
				t.Errorf("got %v %q, want %v %q", st.Code(), st.Message(), tc.code, tc.text)
			}
		})
	}
}

func TestToStatus_details(t *testing.T) {
	t.Parallel()
	st, err := status.New(codes.ResourceExhausted, "full").WithDetails(wrapperspb.String("detail"))
	if err != nil {
		t.Fatal(err)
	}
	got := status.Convert(grpcx.ToStatus(fmt.Errorf("queue: %w", st.Err())))
	if len(got.Details()) != 1 || got.Message() != "queue: full" {
		t.Errorf("got %v", got)
	}
}

func TestFromStatus(t *testing.T) {
	t.Parallel()
	for kind := errs.Internal; kind <= errs.Timeout; kind++ {
		sent := grpcx.ToStatus(errs.New(kind, "text"))
		got := grpcx.FromStatus(sent)
		if errs.KindOf(got) != kind || errs.Message(got) != "text" && kind != errs.Internal || status.Code(got) != status.Code(sent) {
			t.Errorf("%v came back as %v, %q", kind, errs.KindOf(got), errs.Message(got))
		}
	}
	if err := grpcx.FromStatus(status.Error(codes.OutOfRange, "")); errs.KindOf(err) != errs.Invalid {
		t.Errorf("out of range: %v", err)
	}
	if err := grpcx.FromStatus(status.Error(codes.DataLoss, "")); errs.KindOf(err) != errs.Internal {
		t.Errorf("data loss: %v", err)
	}
	if err := grpcx.FromStatus(io.EOF); !errors.Is(err, io.EOF) || grpcx.FromStatus(nil) != nil {
		t.Errorf("errors without a status: %v", err)
	}
}

// lines runs one unary and one streaming RPC through the chain and returns what was logged and sent.
func lines(ctx context.Context, t *testing.T, o grpcx.Options, method string, handle func(context.Context) error) (logged []map[string]any, sent error) {
	t.Helper()
	var buf bytes.Buffer
	log, err := logging.New(&buf, logging.Options{Service: "gitaly"})
	if err != nil {
		t.Fatal(err)
	}
	o.Log = log
	_, sent = grpcx.UnaryServerInterceptor(o)(ctx, nil, &grpc.UnaryServerInfo{FullMethod: method},
		func(ctx context.Context, _ any) (any, error) { return nil, handle(ctx) })
	streamed := grpcx.StreamServerInterceptor(o)(nil, fakeStream{ctx: ctx}, &grpc.StreamServerInfo{FullMethod: method},
		func(_ any, s grpc.ServerStream) error { return handle(s.Context()) })
	if status.Code(streamed) != status.Code(sent) || status.Convert(streamed).Message() != status.Convert(sent).Message() {
		t.Errorf("stream and unary differ: %v, %v", streamed, sent)
	}
	for line := range strings.Lines(buf.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		logged = append(logged, m)
	}
	return logged, sent
}

type fakeStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // what is tested
}

func (s fakeStream) Context() context.Context { return s.ctx }

func TestServer_access(t *testing.T) {
	t.Parallel()
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(correlation.MetadataKey, "the-id"))
	got, err := lines(ctx, t, grpcx.Options{}, rpc, func(ctx context.Context) error {
		if correlation.ID(ctx) != "the-id" {
			t.Errorf("correlation id %q", correlation.ID(ctx))
		}
		grpcx.AddAttrs(ctx, slog.String(logging.KeyUser, "user-1"))
		return nil
	})
	if err != nil || len(got) != 2 {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	for _, line := range got {
		for key, want := range map[string]any{"msg": "access", "service": "gitaly", "correlation_id": "the-id", "rpc": rpc, "code": "OK", "user": "user-1"} {
			if line[key] != want {
				t.Errorf("%s is %v, want %v", key, line[key], want)
			}
		}
		if _, err := time.Parse(time.RFC3339Nano, fmt.Sprint(line["started_at"])); err != nil || line["duration_ms"] == nil {
			t.Errorf("times: %v", line)
		}
	}
}

func TestServer_correlationIDFromOutsideIsChecked(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "a b", strings.Repeat("x", 200)} {
		ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(correlation.MetadataKey, id))
		got, _ := lines(ctx, t, grpcx.Options{}, rpc, func(context.Context) error { return nil })
		if made := fmt.Sprint(got[0]["correlation_id"]); made == id || !correlation.Valid(made) {
			t.Errorf("%q became %q", id, made)
		}
	}
}

func TestServer_errors(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	late, cancelLate := context.WithDeadline(t.Context(), time.Unix(1, 0))
	defer cancelLate()
	plain := errors.New("cmd wait: exit status 128")
	for _, tc := range []struct {
		name   string
		ctx    context.Context //nolint:containedctx // the input
		expose bool
		err    error
		code   codes.Code
		text   string
	}{
		{"plain", t.Context(), false, plain, codes.Internal, "internal error"},
		{"plain, exposed", t.Context(), true, plain, codes.Internal, "cmd wait: exit status 128"},
		{"internal kind, exposed", t.Context(), true, errs.Wrap(errs.Internal, "run", plain), codes.Internal, "run: cmd wait: exit status 128"},
		{"denied", t.Context(), true, errs.New(errs.Denied, "no"), codes.PermissionDenied, "no"},
		{"canceled whatever happened", canceled, true, plain, codes.Canceled, "cmd wait: exit status 128"},
		{"late whatever happened", late, true, errs.New(errs.Denied, "no"), codes.DeadlineExceeded, "no"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := lines(tc.ctx, t, grpcx.Options{ExposeInternal: tc.expose}, rpc, func(context.Context) error { return tc.err })
			if st := status.Convert(err); st.Code() != tc.code || st.Message() != tc.text {
				t.Errorf("sent %v, want %v %q", err, tc.code, tc.text)
			}
			if got[0]["code"] != tc.code.String() || got[0]["error"] != tc.err.Error() {
				t.Errorf("logged %v", got[0])
			}
		})
	}
}

// TestServer_texts: a code with a text of its own has no other; details and the log stay.
func TestServer_texts(t *testing.T) {
	t.Parallel()
	o := grpcx.Options{Texts: map[codes.Code]string{codes.Aborted: "again"}}
	st, err := status.New(codes.Aborted, "locked").WithDetails(wrapperspb.String("detail"))
	if err != nil {
		t.Fatal(err)
	}
	for cause, details := range map[error]int{st.Err(): 1, errs.New(errs.Conflict, "moved"): 0} {
		got, sent := lines(t.Context(), t, o, rpc, func(context.Context) error { return cause })
		if s := status.Convert(sent); s.Code() != codes.Aborted || s.Message() != "again" || len(s.Details()) != details {
			t.Errorf("sent %v with %d details", s, len(s.Details()))
		}
		if got[0]["error"] != cause.Error() {
			t.Errorf("logged %v", got[0])
		}
	}
	if _, sent := lines(t.Context(), t, o, rpc, func(context.Context) error { return errs.New(errs.NotFound, "none") }); status.Convert(sent).Message() != "none" {
		t.Errorf("another code: %v", sent)
	}
}

func TestServer_panic(t *testing.T) {
	t.Parallel()
	got, err := lines(t.Context(), t, grpcx.Options{ExposeInternal: true}, rpc, func(context.Context) error { panic("the cause") })
	if st := status.Convert(err); st.Code() != codes.Internal || strings.Contains(st.Message(), "cause") {
		t.Errorf("sent %v", err)
	}
	if len(got) != 4 || got[0]["panic"] != "the cause" || !strings.Contains(fmt.Sprint(got[0]["stack"]), "grpcx_test.go") || got[1]["code"] != "Internal" {
		t.Errorf("logged %v", got)
	}
}

func TestServer_healthIsQuiet(t *testing.T) {
	t.Parallel()
	const health = "/grpc.health.v1.Health/Check"
	if got, _ := lines(t.Context(), t, grpcx.Options{}, health, func(context.Context) error { return nil }); len(got) != 0 {
		t.Errorf("logged %v", got)
	}
	if got, _ := lines(t.Context(), t, grpcx.Options{}, health, func(context.Context) error { return io.EOF }); len(got) != 2 {
		t.Errorf("a failure logged %v", got)
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	own := metadata.AppendToOutgoingContext(t.Context(), grpcx.ClientNameKey, "gitlab-sshd-git-upload-pack", correlation.MetadataKey, "other")
	for _, tc := range []struct {
		name     string
		ctx      context.Context //nolint:containedctx // the input
		id, from []string
	}{
		{"with an id", correlation.With(t.Context(), "the-id"), []string{"the-id"}, []string{"gitlab-sshd"}},
		{"without an id", t.Context(), nil, []string{"gitlab-sshd"}},
		{"the caller's own", correlation.With(own, "the-id"), []string{"other"}, []string{"gitlab-sshd-git-upload-pack"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			check := func(ctx context.Context) {
				md, _ := metadata.FromOutgoingContext(ctx)
				if id, from := md.Get(correlation.MetadataKey), md.Get(grpcx.ClientNameKey); fmt.Sprint(id, from) != fmt.Sprint(tc.id, tc.from) {
					t.Errorf("sent %v %v", id, from)
				}
			}
			err := grpcx.UnaryClientInterceptor("gitlab-sshd")(tc.ctx, rpc, nil, nil, nil,
				func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
					check(ctx)
					return nil
				})
			if err != nil {
				t.Error(err)
			}
			_, err = grpcx.StreamClientInterceptor("gitlab-sshd")(tc.ctx, nil, nil, rpc,
				func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
					check(ctx)
					return nil, nil
				})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
