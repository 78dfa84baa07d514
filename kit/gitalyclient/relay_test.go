package gitalyclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

type (
	receiveStream = grpc.BidiStreamingServer[gitalypb.SSHReceivePackRequest, gitalypb.SSHReceivePackResponse]
	archiveStream = grpc.BidiStreamingServer[gitalypb.SSHUploadArchiveRequest, gitalypb.SSHUploadArchiveResponse]
	postStream    = grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]
)

var (
	request  = &gitalypb.SSHUploadPackWithSidechannelRequest{}
	first    = &gitalypb.SSHReceivePackRequest{GlId: "user-1"}
	payload  = strings.Repeat("0123456789abcdef", 100_000) // 1.6 MB
	errStdin = errors.New("the user's line is cut")
)

// open is a stdin that never ends: the client stays connected.
func open(t *testing.T) io.Reader {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	return r
}

func TestSSHReceivePack(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{receivePack: func(s receiveStream) error {
		req, err := s.Recv()
		if err != nil || req.GetGlId() != "user-1" || req.GetStdin() != nil {
			t.Errorf("first message %v, %v", req, err)
		}
		stdin, err := io.ReadAll(streamio.NewReader(func() ([]byte, error) { r, err := s.Recv(); return r.GetStdin(), err }))
		if err != nil {
			return err
		}
		for out := string(stdin); len(out) > 0; {
			n := min(len(out), streamio.MaxChunk)
			if err := s.Send(&gitalypb.SSHReceivePackResponse{Stdout: []byte(out[:n]), Stderr: []byte(".")}); err != nil {
				return err
			}
			out = out[n:]
		}
		return nil
	}})
	var stdout, stderr bytes.Buffer
	exit, err := gitalyclient.SSHReceivePack(bounded(t), conn, first, strings.NewReader(payload), &stdout, &stderr)
	if exit != 0 || err != nil || stdout.String() != payload || strings.Trim(stderr.String(), ".") != "" || stderr.Len() == 0 {
		t.Errorf("got %d, %v, %d bytes of %d, %q", exit, err, stdout.Len(), len(payload), stderr.String())
	}
}

func TestSSHReceivePack_stderrComesFirst(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{receivePack: func(s receiveStream) error {
		return s.Send(&gitalypb.SSHReceivePackResponse{Stdout: []byte("out"), Stderr: []byte("err ")})
	}})
	var both bytes.Buffer
	if _, err := gitalyclient.SSHReceivePack(bounded(t), conn, first, open(t), &both, &both); err != nil || both.String() != "err out" {
		t.Errorf("got %q, %v", both.String(), err)
	}
}

// The server ends while stdin is open: exit status and error both arrive, and nothing waits for stdin.
func TestSSHReceivePack_failed(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{receivePack: func(s receiveStream) error {
		if err := s.Send(&gitalypb.SSHReceivePackResponse{ExitStatus: &gitalypb.ExitStatus{Value: 128}}); err != nil {
			return err
		}
		return errors.New("cmd wait: exit status 128")
	}})
	exit, err := gitalyclient.SSHReceivePack(bounded(t), conn, first, open(t), io.Discard, io.Discard)
	if st := status.Convert(err); exit != 128 || st.Code() != codes.Internal || st.Message() != "cmd wait: exit status 128" {
		t.Errorf("got %d, %v", exit, err)
	}
}

func TestSSHReceivePack_callersStreamsBreak(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	conn := start(t, &fakeGitaly{receivePack: func(s receiveStream) error {
		err := s.Send(&gitalypb.SSHReceivePackResponse{Stdout: []byte("x")})
		for err == nil {
			_, err = s.Recv()
		}
		ended <- err
		return err
	}})
	broken := iotest.ErrReader(errStdin)
	if _, err := gitalyclient.SSHReceivePack(bounded(t), conn, first, broken, io.Discard, io.Discard); !errors.Is(err, errStdin) {
		t.Errorf("stdin breaks: %v", err)
	}
	if err := <-ended; err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the server took a broken stdin for an ended one: %v", err)
	}
	if _, err := gitalyclient.SSHReceivePack(bounded(t), conn, first, open(t), closedPipe(), io.Discard); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("stdout breaks: %v", err)
	}
	<-ended
	ctx, cancel := context.WithCancel(bounded(t))
	_, err := gitalyclient.SSHReceivePack(ctx, conn, first, open(t), writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil }), io.Discard)
	if status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	<-ended
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func closedPipe() io.Writer {
	r, w := io.Pipe()
	_ = r.Close()
	return w
}

func TestSSHUploadArchive(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{archive: func(s archiveStream) error {
		return s.Send(&gitalypb.SSHUploadArchiveResponse{Stdout: []byte("tar"), ExitStatus: &gitalypb.ExitStatus{Value: 3}})
	}})
	var stdout bytes.Buffer
	exit, err := gitalyclient.SSHUploadArchive(bounded(t), conn, &gitalypb.SSHUploadArchiveRequest{}, strings.NewReader(""), &stdout, io.Discard)
	if exit != 3 || err != nil || stdout.String() != "tar" {
		t.Errorf("got %d, %v, %q", exit, err, stdout.String())
	}
}

// sidechannelled makes a handler of what happens on its sidechannel.
func sidechannelled(handle func(*sidechannel.Conn) error) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := sidechannel.Open(ctx)
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // test
		return handle(conn)
	}
}

func TestSSHUploadPack(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{uploadPack: sidechannelled(func(c *sidechannel.Conn) error {
		if _, err := io.WriteString(pktline.NewBandWriter(c, pktline.BandProgress), "Counting\n"); err != nil {
			return err
		}
		_, err := io.Copy(pktline.NewBandWriter(c, pktline.BandData), c)
		return err
	})})
	var stdout, stderr bytes.Buffer
	err := gitalyclient.SSHUploadPack(bounded(t), conn, request, strings.NewReader(payload), &stdout, &stderr)
	if err != nil || stdout.String() != payload || stderr.String() != "Counting\n" {
		t.Errorf("got %v, %d bytes of %d, %q", err, stdout.Len(), len(payload), stderr.String())
	}
}

func TestSSHUploadPack_errors(t *testing.T) {
	t.Parallel()
	raw := func(bytes string, err error) func(context.Context) error {
		return sidechannelled(func(c *sidechannel.Conn) error {
			_, werr := io.WriteString(c, bytes)
			return errors.Join(err, werr)
		})
	}
	for name, tc := range map[string]struct {
		server func(context.Context) error
		stdin  io.Reader
		stdout io.Writer
		want   string
	}{
		"git failed":    {server: raw("0006\x01x", status.Error(codes.Internal, "running upload-pack")), want: "rpc error: code = Internal desc = running upload-pack"},
		"flush packet":  {server: raw("0000", nil), want: "empty packet from gitaly"},
		"empty packet":  {server: raw("0004", nil), want: "empty packet from gitaly"},
		"other band":    {server: raw("0006\x03x", nil), want: "unexpected band: 3"},
		"cut packet":    {server: raw("0009\x01x", nil), want: "unexpected EOF"},
		"no packet":     {server: raw("HTTP", nil), want: `invalid packet length "HTTP"`},
		"no channel":    {server: func(context.Context) error { return nil }, want: "sidechannel: callback de-registered without having run"},
		"stdout breaks": {server: raw("0006\x01x", nil), stdout: closedPipe(), want: "write stdout: io: read/write on closed pipe"},
		"stdin breaks": {server: sidechannelled(func(c *sidechannel.Conn) error { _, err := io.ReadAll(c); return err }),
			stdin: iotest.ErrReader(errStdin), want: "read stdin: " + errStdin.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.stdin == nil {
				tc.stdin = open(t)
			}
			if tc.stdout == nil {
				tc.stdout = io.Discard
			}
			err := gitalyclient.SSHUploadPack(bounded(t), start(t, &fakeGitaly{uploadPack: tc.server}), request, tc.stdin, tc.stdout, io.Discard)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestSSHUploadPack_canceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(bounded(t))
	conn := start(t, &fakeGitaly{uploadPack: sidechannelled(func(c *sidechannel.Conn) error {
		cancel()
		_, err := io.ReadAll(c) // until the client is gone
		return err
	})})
	if err := gitalyclient.SSHUploadPack(ctx, conn, request, open(t), io.Discard, io.Discard); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
}

func TestInfoRefs(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{infoRefs: func(service string, send func([]byte) error) error {
		if err := send([]byte("refs of ")); err != nil {
			return err
		}
		if err := send([]byte(service)); err != nil || service == "upload" {
			return err
		}
		return errors.New("wait: exit status 1")
	}})
	var b bytes.Buffer
	if err := gitalyclient.InfoRefs(bounded(t), conn, "git-upload-pack", &gitalypb.InfoRefsRequest{}, &b); err != nil || b.String() != "refs of upload" {
		t.Errorf("upload: %q, %v", b.String(), err)
	}
	b.Reset()
	err := gitalyclient.InfoRefs(bounded(t), conn, "git-receive-pack", &gitalypb.InfoRefsRequest{}, &b)
	if status.Convert(err).Message() != "wait: exit status 1" || b.String() != "refs of receive" {
		t.Errorf("receive: %q, %v", b.String(), err)
	}
	if err := gitalyclient.InfoRefs(bounded(t), conn, "git-annex", nil, &b); err == nil {
		t.Error("an unknown service was asked")
	}
	if err := gitalyclient.InfoRefs(bounded(t), conn, "git-upload-pack", &gitalypb.InfoRefsRequest{}, closedPipe()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("closed response: %v", err)
	}
}

func TestPostReceivePack(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{postReceive: func(s postStream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		body := streamio.NewReader(func() ([]byte, error) { r, err := s.Recv(); return r.GetData(), err })
		_, err := io.Copy(streamio.NewWriter(func(b []byte) error { return s.Send(&gitalypb.PostReceivePackResponse{Data: b}) }), body)
		return err
	}})
	var b bytes.Buffer
	err := gitalyclient.PostReceivePack(bounded(t), conn, &gitalypb.PostReceivePackRequest{GlId: "user-1"}, strings.NewReader(payload), &b)
	if err != nil || b.String() != payload {
		t.Errorf("got %v, %d bytes of %d", err, b.Len(), len(payload))
	}
}

func TestPostUploadPack(t *testing.T) {
	t.Parallel()
	conn := start(t, &fakeGitaly{postUpload: sidechannelled(func(c *sidechannel.Conn) error {
		if _, err := io.WriteString(c, "NAK"); err != nil { // early: must not reach the response before the body is read
			return err
		}
		_, err := io.Copy(c, c)
		return err
	})})
	body := strings.NewReader(payload[:100_000])
	var b bytes.Buffer
	err := gitalyclient.PostUploadPack(bounded(t), conn, &gitalypb.PostUploadPackWithSidechannelRequest{}, body, writerFunc(func(p []byte) (int, error) {
		if body.Len() > 0 {
			t.Error("the response began before the body was read")
		}
		return b.Write(p)
	}))
	if err != nil || b.String() != "NAK"+payload[:100_000] {
		t.Errorf("got %v, %d bytes", err, b.Len())
	}
}

func TestPostUploadPack_errors(t *testing.T) {
	t.Parallel()
	failed := status.Error(codes.FailedPrecondition, "exit status 128")
	for name, tc := range map[string]struct {
		answer string
		body   io.Reader
		w      io.Writer
		want   string
	}{
		"failed at once, body open":     {body: open(t), w: io.Discard, want: failed.Error()},
		"failed in between, body open":  {answer: "NAK", body: open(t), w: io.Discard, want: failed.Error()},
		"failed in between, body ended": {answer: "NAK", body: strings.NewReader(""), w: io.Discard, want: failed.Error()},
		"body breaks":                   {answer: "wait", body: iotest.ErrReader(errStdin), w: io.Discard, want: "read stdin: " + errStdin.Error()},
		"response breaks":               {answer: "wait", body: strings.NewReader(""), w: closedPipe(), want: "write response: io: read/write on closed pipe"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := start(t, &fakeGitaly{postUpload: func(ctx context.Context) error {
				return sidechannelled(func(c *sidechannel.Conn) error {
					_, err := io.WriteString(c, tc.answer)
					if tc.answer == "wait" {
						<-ctx.Done()
					}
					return errors.Join(failed, err)
				})(ctx)
			}})
			err := gitalyclient.PostUploadPack(bounded(t), conn, &gitalypb.PostUploadPackWithSidechannelRequest{}, tc.body, tc.w)
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
