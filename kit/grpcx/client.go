package grpcx

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"gitsplit/kit/correlation"
)

// ClientNameKey is the metadata that names the calling program (wire/gitaly.md §3).
const ClientNameKey = "x-gitlab-client-name"

// UnaryClientInterceptor sends the context's correlation id and the client's name. A caller that has put its own
// value into the outgoing metadata keeps it.
func UnaryClientInterceptor(clientName string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return invoke(outgoing(ctx, clientName), method, req, reply, cc, opts...)
	}
}

// StreamClientInterceptor is the same for streams.
func StreamClientInterceptor(clientName string) grpc.StreamClientInterceptor {
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return open(outgoing(ctx, clientName), desc, cc, method, opts...)
	}
}

func outgoing(ctx context.Context, clientName string) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	if id := correlation.ID(ctx); id != "" && len(md.Get(correlation.MetadataKey)) == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, correlation.MetadataKey, id)
	}
	if clientName != "" && len(md.Get(ClientNameKey)) == 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, ClientNameKey, clientName)
	}
	return ctx
}
