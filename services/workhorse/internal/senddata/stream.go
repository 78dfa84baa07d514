package senddata

import (
	"context"
	"errors"
	"io"
	"net/http"

	"google.golang.org/grpc"

	"gitsplit/kit/streamio"
	"gitsplit/services/workhorse/internal/gitaly"
)

// opener starts a call of gitaly.
type opener[M any] func(context.Context, *grpc.ClientConn) (grpc.ServerStreamingClient[M], error)

// data is a message of gitaly that carries data.
type data[M any] interface {
	*M
	GetData() []byte
}

// call starts a call of the server that rails-api named. It ends with ctx.
func call[M any](ctx context.Context, s *Sender, server gitaly.Server, open opener[M]) (grpc.ServerStreamingClient[M], error) {
	conn, err := s.Gitalys.Conn(server.Address, server.Token)
	if err != nil {
		return nil, err
	}
	stream, err := open(server.Context(ctx), conn)
	if err != nil {
		return nil, unanswered(err)
	}
	return stream, nil
}

// unanswered gives a call that failed before its first byte its answer.
func unanswered(err error) error {
	status, text := gitaly.Failure(err)
	return &refusal{status: status, text: text, cause: err}
}

// relay sends what a call of gitaly streams, and to HEAD only the headers. Nothing is
// sent before gitaly's first piece is there: until then a failure can be told.
func relay[M any, P data[M]](s *Sender, w io.Writer, r *http.Request, server gitaly.Server, open opener[M]) error {
	if r.Method == http.MethodHead {
		return nil
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stream, err := call(ctx, s, server, open)
	if err != nil {
		return err
	}
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) { // nothing to send is an answer
		return nil
	}
	if err != nil {
		return unanswered(err)
	}
	return copyStream[M, P](w, first, stream)
}

// copyStream sends the first message and those that follow.
func copyStream[M any, P data[M]](w io.Writer, first P, stream grpc.ServerStreamingClient[M]) error {
	_, err := io.Copy(w, streamio.NewReader(func() ([]byte, error) {
		if m := first; m != nil {
			first = nil
			return m.GetData(), nil
		}
		m, err := stream.Recv()
		return P(m).GetData(), err
	}))
	return err
}
