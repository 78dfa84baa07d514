package gitalyclient

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	"gitsplit/kit/streamio"
)

// piece is what one response message brings.
type piece struct {
	stdout, stderr []byte
	exit           *int32
}

// duplex is a bidirectional git RPC: what differs between them is the shape of the messages.
type duplex[Req, Resp any] struct {
	stream grpc.BidiStreamingClient[Req, Resp] // with streamio's codec
	stdin  io.Writer                           // into messages of the stream
	piece  func(*Resp) piece                   // what a response carries
	end    context.CancelFunc                  // ends the RPC
}

// bulk lets stdin pass gRPC without copies.
func bulk() grpc.CallOption { return grpc.ForceCodecV2(streamio.NewCodec()) }

// relay sends first, then stdin, and writes the responses until the server ends the RPC. It returns then, also while
// stdin is still open: the goroutine that reads stdin ends with the caller's closing it.
func (d duplex[Req, Resp]) relay(first *Req, stdin io.Reader, stdout, stderr io.Writer) (int32, error) {
	if err := d.stream.Send(first); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	} // on io.EOF the response tells what happened
	broken := make(chan error, 1)
	go d.feed(stdin, broken)
	var exit int32
	for {
		resp, err := d.stream.Recv()
		if errors.Is(err, io.EOF) {
			return exit, nil
		}
		if err != nil {
			select {
			case readErr := <-broken:
				return exit, readErr // why we ended the RPC
			default:
				return exit, err
			}
		}
		p := d.piece(resp)
		if p.exit != nil {
			exit = *p.exit
		}
		if err := write(stderr, p.stderr, "stderr"); err != nil {
			return exit, err
		}
		if err := write(stdout, p.stdout, "stdout"); err != nil {
			return exit, err
		}
	}
}

// feed copies stdin and half-closes at its end. A stdin that breaks must not look like one that ended: the RPC is
// cancelled then.
func (d duplex[Req, Resp]) feed(stdin io.Reader, broken chan<- error) {
	in := &source{r: stdin}
	_, _ = io.Copy(d.stdin, in)
	switch {
	case in.ended():
		_ = d.stream.CloseSend()
	case in.err != nil:
		broken <- fmt.Errorf("read stdin: %w", in.err)
		d.end()
	} // else the RPC is over, and its status known to Recv
}

// source remembers how its reader ended, to tell a broken stdin from a broken RPC.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

// ended tells a clean end. A wrapped io.EOF is a reader's way to say that something broke.
func (s *source) ended() bool { return s.err == io.EOF } //nolint:errorlint // see above

func write(w io.Writer, b []byte, name string) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
