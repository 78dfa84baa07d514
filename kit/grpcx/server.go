package grpcx

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/kit/correlation"
	"gitsplit/kit/logging"
	"gitsplit/kit/streamio"
)

// Options configures the server's chain.
type Options struct {
	Log *slog.Logger
	// ExposeInternal sends the text of internal errors to callers instead of a fixed one. For gitaly, whose callers
	// are services that expect texts like "cmd wait: exit status 128".
	ExposeInternal bool
	// Texts are messages that replace every other that is sent with a code; details stay. The access line has the cause.
	Texts map[codes.Code]string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// quietPrefix: probes come every few seconds and say nothing; only their failures are worth a line.
const quietPrefix = "/grpc.health.v1.Health/"

// ServerOptions puts the chain in front of every RPC, followed by the given interceptors (authentication first:
// then refused calls have their line and their correlation id too). Handlers may use streamio's senders and receivers.
func ServerOptions(o Options, unary []grpc.UnaryServerInterceptor, stream []grpc.StreamServerInterceptor) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(append([]grpc.UnaryServerInterceptor{UnaryServerInterceptor(o)}, unary...)...),
		grpc.ChainStreamInterceptor(append([]grpc.StreamServerInterceptor{StreamServerInterceptor(o)}, stream...)...),
		grpc.ForceServerCodecV2(streamio.NewCodec()),
	}
}

// UnaryServerInterceptor is the chain for unary RPCs. From the outside in: correlation id, access line (it sees the
// code that is sent), status mapping, panic recovery.
func UnaryServerInterceptor(o Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (resp any, err error) {
		err = o.run(ctx, info.FullMethod, func(ctx context.Context) error {
			var err error
			resp, err = next(ctx, req)
			return err
		})
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// StreamServerInterceptor is the same chain for streams.
func StreamServerInterceptor(o Options) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		return o.run(stream.Context(), info.FullMethod, func(ctx context.Context) error {
			return next(srv, &serverStream{ServerStream: stream, ctx: ctx})
		})
	}
}

type serverStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // this is how gRPC passes the context of a stream on
}

func (s *serverStream) Context() context.Context { return s.ctx }

func (o Options) run(ctx context.Context, method string, handle func(context.Context) error) error {
	now := o.Now
	if now == nil {
		now = time.Now
	}
	started := now()
	ctx = correlate(ctx)
	ctx, added := logging.WithEvent(ctx)
	cause := o.recovering(ctx, handle)
	err := o.mapped(ctx, cause)
	if err != nil || !strings.HasPrefix(method, quietPrefix) {
		attrs := []slog.Attr{slog.String(logging.KeyRPC, method), slog.String(logging.KeyCode, status.Code(err).String())}
		if cause != nil {
			attrs = append(attrs, slog.String(logging.KeyError, cause.Error()))
		}
		logging.Access(ctx, o.Log, started, append(attrs, added()...)...)
	}
	return err
}

// correlate adopts the caller's id, or makes one.
func correlate(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, correlation.MetadataKey)
	if len(values) > 0 && correlation.Valid(values[len(values)-1]) {
		return correlation.With(ctx, values[len(values)-1])
	}
	return correlation.With(ctx, correlation.NewID())
}

// mapped gives the status to send. Once the RPC's context has ended that is the outcome, whatever else happened.
func (o Options) mapped(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	sent := toStatus(err, o.ExposeInternal)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return recoded(sent, codes.Canceled)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return recoded(sent, codes.DeadlineExceeded)
	}
	return o.reworded(sent)
}

func (o Options) reworded(err error) error {
	text, ok := o.Texts[status.Code(err)]
	if !ok {
		return err
	}
	p := status.Convert(err).Proto()
	p.Message = text
	return status.FromProto(p).Err()
}

func recoded(err error, code codes.Code) error {
	p := status.Convert(err).Proto()
	p.Code = int32(code) //nolint:gosec // codes are small
	return status.FromProto(p).Err()
}

func (o Options) recovering(ctx context.Context, handle func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			o.Log.ErrorContext(ctx, "panic in an RPC", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = status.Error(codes.Internal, internalText)
		}
	}()
	return handle(ctx)
}

// AddAttrs adds facts (user, project, bytes) to the access line of the RPC that ctx belongs to.
func AddAttrs(ctx context.Context, attrs ...slog.Attr) { logging.AddAttrs(ctx, attrs...) }
