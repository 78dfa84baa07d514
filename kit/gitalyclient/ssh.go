package gitalyclient

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

// SSHReceivePack relays a push (§5.4) and returns git's exit status. first carries the parameters and no stdin. An
// error is the RPC's status, or says which of the caller's streams failed; the exit status counts besides an error.
//
// All relays of this package share these rules. They end with ctx. They return as soon as the server has finished,
// even if stdin is open; one goroutine then stays in stdin.Read until the caller closes stdin, and what it reads is
// lost. They wait for writes in progress, so the caller must make a stuck stdout fail (close it when ctx ends).
func SSHReceivePack(ctx context.Context, conn *grpc.ClientConn, first *gitalypb.SSHReceivePackRequest, stdin io.Reader, stdout, stderr io.Writer) (int32, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := gitalypb.NewSSHServiceClient(conn).SSHReceivePack(ctx, bulk())
	if err != nil {
		return 0, err
	}
	return duplex[gitalypb.SSHReceivePackRequest, gitalypb.SSHReceivePackResponse]{
		stream: stream, end: cancel,
		stdin: streamio.NewSender(stream, (*gitalypb.SSHReceivePackRequest)(nil), "stdin"),
		piece: func(r *gitalypb.SSHReceivePackResponse) piece {
			return piece{r.GetStdout(), r.GetStderr(), exitOf(r.GetExitStatus())}
		},
	}.relay(first, stdin, stdout, stderr)
}

// SSHUploadArchive relays `git archive --remote` (§5.5), like SSHReceivePack.
func SSHUploadArchive(ctx context.Context, conn *grpc.ClientConn, first *gitalypb.SSHUploadArchiveRequest, stdin io.Reader, stdout, stderr io.Writer) (int32, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := gitalypb.NewSSHServiceClient(conn).SSHUploadArchive(ctx, bulk())
	if err != nil {
		return 0, err
	}
	return duplex[gitalypb.SSHUploadArchiveRequest, gitalypb.SSHUploadArchiveResponse]{
		stream: stream, end: cancel,
		stdin: streamio.NewSender(stream, (*gitalypb.SSHUploadArchiveRequest)(nil), "stdin"),
		piece: func(r *gitalypb.SSHUploadArchiveResponse) piece {
			return piece{r.GetStdout(), r.GetStderr(), exitOf(r.GetExitStatus())}
		},
	}.relay(first, stdin, stdout, stderr)
}

func exitOf(s *gitalypb.ExitStatus) *int32 {
	if s == nil {
		return nil
	}
	return &s.Value
}

// SSHUploadPack relays a fetch or clone over a sidechannel (§5.2). Success means exit status 0; git's own exit status
// is not transmitted otherwise, the error is the RPC's. The rules of SSHReceivePack apply.
func SSHUploadPack(ctx context.Context, conn *grpc.ClientConn, req *gitalypb.SSHUploadPackWithSidechannelRequest, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	_, err := gitalypb.NewSSHServiceClient(conn).SSHUploadPackWithSidechannel(ctx, req,
		sidechannel.With(func(c *sidechannel.ClientConn) error {
			go feedSidechannel(c, stdin, cancel)
			return demux(c, stdout, stderr, cancel)
		}))
	return causeOf(ctx, err)
}

// feedSidechannel copies stdin and half-closes at its end; a stdin that breaks ends the RPC.
func feedSidechannel(c *sidechannel.ClientConn, stdin io.Reader, cancel context.CancelCauseFunc) {
	in := &source{r: stdin}
	_, _ = io.Copy(c, in)
	switch {
	case in.ended():
		_ = c.CloseWrite()
	case in.err != nil:
		cancel(fmt.Errorf("read stdin: %w", in.err))
	}
}

// causeOf prefers the reason for which a relay itself ended the RPC to the Canceled that came of it.
func causeOf(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() { //nolint:errorlint // the very value, not its kind
		return cause
	}
	return err
}

// demux writes bands 1 and 2 to where they belong until the server closes. When the fault is at our side or in what
// the server sends, it ends the RPC with it; when the stream is lost, the RPC ends by itself with a better reason.
func demux(r io.Reader, stdout, stderr io.Writer, cancel context.CancelCauseFunc) error {
	s := pktline.NewScanner(r)
	defer s.Close()
	for s.Scan() {
		if err := deliver(s, stdout, stderr); err != nil {
			cancel(err)
			return err
		}
	}
	return s.Err()
}

func deliver(s *pktline.Scanner, stdout, stderr io.Writer) error {
	if s.Kind() != pktline.Data || len(s.Payload()) == 0 {
		return errors.New("empty packet from gitaly")
	}
	band, data := s.Payload()[0], s.Payload()[1:]
	switch band {
	case pktline.BandData:
		return write(stdout, data, "stdout")
	case pktline.BandProgress:
		return write(stderr, data, "stderr")
	}
	return fmt.Errorf("unexpected band: %d", band)
}
