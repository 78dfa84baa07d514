package gitalyauth

import (
	"context"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// Options configures the server's check.
type Options struct {
	// Token is the shared secret. With an empty one every call is accepted.
	Token string
	// Previous is the secret before it, accepted while it changes; "" for none.
	Previous string
	// Transitioning accepts every call, as while a secret is being introduced.
	Transitioning bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Refused, if set, hears of each call that did not pass, also of those let through by Transitioning.
	Refused func(ctx context.Context, fullMethod string, err error)
	// Accepted, if set, hears of each call with a good token.
	Accepted func(ctx context.Context, fullMethod string)
}

// healthPrefix: probes carry no token. Everything else needs one, reflection included.
const healthPrefix = "/grpc.health.v1.Health/"

// UnaryInterceptor refuses unary calls without a valid token.
func UnaryInterceptor(o Options) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if err := o.check(ctx, info.FullMethod); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// StreamInterceptor refuses streams without a valid token, before their first message is read.
func StreamInterceptor(o Options) grpc.StreamServerInterceptor {
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		if err := o.check(stream.Context(), info.FullMethod); err != nil {
			return err
		}
		return next(srv, stream)
	}
}

func (o Options) check(ctx context.Context, fullMethod string) error {
	if o.Token == "" || strings.HasPrefix(fullMethod, healthPrefix) {
		return nil
	}
	err := o.verify(ctx)
	if err == nil {
		if o.Accepted != nil {
			o.Accepted(ctx, fullMethod)
		}
		return nil
	}
	if o.Refused != nil {
		o.Refused(ctx, fullMethod, err)
	}
	if o.Transitioning {
		return nil
	}
	return err
}

func (o Options) verify(ctx context.Context) error {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return errUnauthenticated()
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if !found || !strings.EqualFold(scheme, "bearer") {
		return errUnauthenticated()
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	return Check([][]byte{[]byte(o.Token), []byte(o.Previous)}, token, now())
}
