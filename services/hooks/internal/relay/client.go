package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"gitsplit/kit/gitalyauth"
	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
)

// Metadata of the calls (wire/gitaly.md §3), and the variable with the push's id.
const (
	correlationKey = "x-gitlab-correlation-id"
	clientNameKey  = "x-gitlab-client-name"
	correlationEnv = "CORRELATION_ID"
)

// client is one connection to gitaly's internal socket.
type client struct {
	ctx     context.Context //nolint:containedctx // the process makes one call
	conn    *grpc.ClientConn
	api     gitalypb.HookServiceClient
	payload hookpayload.Payload
	environ []string
}

func newClient(ctx context.Context, p hookpayload.Payload, environ []string) (*client, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
	}
	if p.InternalSocketToken != "" {
		options = append(options, grpc.WithPerRPCCredentials(gitalyauth.Credentials(p.InternalSocketToken)))
	}
	conn, err := grpc.NewClient("unix://"+p.InternalSocket, options...)
	if err != nil {
		return nil, fmt.Errorf("dial gitaly: %w", err)
	}
	md := []string{clientNameKey, "gitaly-hooks"}
	if id := getenv(environ, correlationEnv); id != "" {
		md = append(md, correlationKey, id)
	}
	if u := p.UserDetails; u != nil {
		md = append(md, "user_id", u.UserID, "username", u.Username, "remote_ip", u.RemoteIP)
	}
	return &client{
		ctx: metadata.AppendToOutgoingContext(ctx, md...), conn: conn, api: gitalypb.NewHookServiceClient(conn),
		payload: p, environ: environ,
	}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// run makes the call and returns the exit status.
func (c *client) run(name string, args []string, s Streams) (int32, error) {
	switch name {
	case "pre-receive":
		return c.preReceive(s)
	case "post-receive":
		return c.postReceive(s)
	case "update":
		return c.update(args, s)
	case packObjects:
		return c.packObjects(args, s)
	}
	return c.referenceTransaction(args, s)
}

// pushOptions reads what git tells of the push.
func pushOptions(environ []string) []string {
	count, err := strconv.Atoi(getenv(environ, "GIT_PUSH_OPTION_COUNT"))
	if err != nil || count < 0 || count > len(environ) {
		return nil
	}
	var options []string
	for i := range count {
		options = append(options, getenv(environ, "GIT_PUSH_OPTION_"+strconv.Itoa(i)))
	}
	return options
}

func getenv(environ []string, key string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], key+"="); ok {
			return v
		}
	}
	return ""
}

// response is what all hooks answer.
type response interface {
	GetStdout() []byte
	GetStderr() []byte
	GetExitStatus() *gitalypb.ExitStatus
}

// receive writes the answers until the end and returns the exit status. An answer
// without one is no permission.
func receive[R response](recv func() (R, error), s Streams) (int32, error) {
	status, seen := int32(0), false
	for {
		resp, err := recv()
		if errors.Is(err, io.EOF) {
			if !seen {
				return 1, io.ErrUnexpectedEOF
			}
			return status, nil
		}
		if err != nil {
			return 1, err
		}
		if _, err := s.Stderr.Write(resp.GetStderr()); err != nil {
			return 1, fmt.Errorf("write stderr: %w", err)
		}
		if _, err := s.Stdout.Write(resp.GetStdout()); err != nil {
			return 1, fmt.Errorf("write stdout: %w", err)
		}
		if e := resp.GetExitStatus(); e != nil {
			status, seen = e.GetValue(), true
		}
	}
}

// chunk is the largest piece of stdin in one message.
const chunk = 128 << 10

// send copies stdin and half-closes. An RPC that ended meanwhile is no error here:
// receive learns why.
func send(stdin io.Reader, message func([]byte) error, closeSend func() error) error {
	buf := make([]byte, chunk)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if err := message(buf[:n]); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return closeSend()
		}
		if err != nil {
			return fmt.Errorf("read stdin: %w", err)
		}
	}
}
