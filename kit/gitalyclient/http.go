package gitalyclient

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

// InfoRefs writes the ref advertisement of a service, git-upload-pack or git-receive-pack, to w (§5.6). Bytes may
// have been written when it fails.
func InfoRefs(ctx context.Context, conn *grpc.ClientConn, service string, req *gitalypb.InfoRefsRequest, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := gitalypb.NewSmartHTTPServiceClient(conn)
	open := client.InfoRefsUploadPack
	switch service {
	case "git-upload-pack":
	case "git-receive-pack":
		open = client.InfoRefsReceivePack
	default:
		return fmt.Errorf("unknown git service %q", service)
	}
	stream, err := open(ctx, req)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, streamio.NewReader(func() ([]byte, error) {
		resp, err := stream.Recv()
		return resp.GetData(), err
	}))
	return err
}

// PostReceivePack relays a push over HTTP (§5.8): body to git, git's stdout to w. The rules of SSHReceivePack apply,
// with body for stdin and w for stdout.
func PostReceivePack(ctx context.Context, conn *grpc.ClientConn, first *gitalypb.PostReceivePackRequest, body io.Reader, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := gitalypb.NewSmartHTTPServiceClient(conn).PostReceivePack(ctx, bulk())
	if err != nil {
		return err
	}
	_, err = duplex[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]{
		stream: stream, end: cancel,
		stdin: streamio.NewSender(stream, (*gitalypb.PostReceivePackRequest)(nil), "data"),
		piece: func(r *gitalypb.PostReceivePackResponse) piece { return piece{stdout: r.GetData()} },
	}.relay(first, body, w, io.Discard)
	return err
}

// PostUploadPack relays a fetch or clone over HTTP (§5.7): the whole body first, then the response to w. If the
// server ends without having answered, it returns without waiting for the body. The rules of SSHReceivePack apply.
func PostUploadPack(ctx context.Context, conn *grpc.ClientConn, req *gitalypb.PostUploadPackWithSidechannelRequest, body io.Reader, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, err := gitalypb.NewSmartHTTPServiceClient(conn).PostUploadPackWithSidechannel(ctx, req,
		sidechannel.With(func(c *sidechannel.ClientConn) error {
			return postBody(c, body, w, cancel)
		}))
	return causeOf(ctx, err)
}

// responseBuffer is what is read of a response before the body is complete, and at a time afterwards.
const responseBuffer = 64 << 10

func postBody(c *sidechannel.ClientConn, body io.Reader, w io.Writer, cancel context.CancelCauseFunc) error {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		feedSidechannel(c, body, cancel)
	}()
	resp := bufio.NewReaderSize(c, responseBuffer)
	if _, err := resp.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // finished without an answer: the status says why
		}
		return err
	}
	select {
	case <-sent:
	case <-c.Done():
		return errors.New("gitaly ended the request")
	}
	out := &sink{w: w}
	_, err := io.Copy(out, resp)
	if out.err != nil {
		cancel(fmt.Errorf("write response: %w", out.err)) // a lost stream ends the RPC by itself
	}
	return err
}

// sink remembers whether its writer failed.
type sink struct {
	w   io.Writer
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}
