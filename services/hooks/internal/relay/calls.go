package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"

	"gitsplit/services/hooks/internal/call"
)

// first is the beginning of what each hook of a push says first.
func (c *client) first() message { return always(nil, 1, repository(c.repository)).list(2, c.environ) }

func (c *client) preReceive(ctx context.Context, s Streams) (int32, error) {
	return c.stream(ctx, "PreReceiveHook", c.first().list(5, pushOptions(c.environ)), 4, s)
}

func (c *client) postReceive(ctx context.Context, s Streams) (int32, error) {
	return c.stream(ctx, "PostReceiveHook", c.first().list(4, pushOptions(c.environ)), 3, s)
}

func (c *client) update(ctx context.Context, args []string, s Streams) (int32, error) {
	if len(args) != 3 {
		return 1, fmt.Errorf("%w: update wants a reference and two object ids", errUsage)
	}
	m := with(with(with(c.first(), 3, args[0]), 4, args[1]), 5, args[2])
	return c.stream(ctx, "UpdateHook", m, 0, s)
}

func (c *client) referenceTransaction(ctx context.Context, args []string, s Streams) (int32, error) {
	state, err := transactionState(args)
	if err != nil {
		return 1, err
	}
	return c.stream(ctx, "ReferenceTransactionHook", c.first().number(4, state), 3, s)
}

// transactionState is the number of git's word in the protocol.
func transactionState(args []string) (uint64, error) {
	states := map[string]uint64{"prepared": 0, "committed": 1, "aborted": 2}
	if len(args) == 1 {
		if state, ok := states[args[0]]; ok {
			return state, nil
		}
	}
	return 0, fmt.Errorf("%w: reference-transaction wants its state, got %q", errUsage, args)
}

// stream makes a call: the first message, stdin in the given field of later ones unless
// that is 0, then the answers.
func (c *client) stream(ctx context.Context, method string, first message, field protowire.Number, s Streams) (int32, error) {
	var messages io.Reader = bytes.NewReader(call.Frame(first))
	if field != 0 {
		messages = io.MultiReader(messages, &stdin{r: s.Stdin, field: field})
	}
	called, err := c.call(ctx, method, messages)
	if err != nil {
		return 1, err
	}
	defer called.Close()
	return receive(called, s)
}

// receive writes the answers until the end and returns the exit status. A call that
// ends without one is no permission.
func receive(called *call.Call, s Streams) (int32, error) {
	status, seen := int32(0), false
	for {
		raw, err := called.Receive()
		if errors.Is(err, io.EOF) {
			if !seen {
				return 1, io.ErrUnexpectedEOF
			}
			return status, nil
		}
		if err != nil {
			return 1, err
		}
		a, err := parseAnswer(raw)
		if err != nil {
			return 1, err
		}
		if err := write(s, a); err != nil {
			return 1, err
		}
		if a.ended {
			status, seen = a.status, true
		}
	}
}

func write(s Streams, a answer) error {
	if len(a.stderr) > 0 {
		if _, err := s.Stderr.Write(a.stderr); err != nil {
			return fmt.Errorf("write stderr: %w", err)
		}
	}
	if len(a.stdout) > 0 {
		if _, err := s.Stdout.Write(a.stdout); err != nil {
			return fmt.Errorf("write stdout: %w", err)
		}
	}
	return nil
}

// chunk is the largest piece of stdin in one message.
const chunk = 128 << 10

// stdin reads the hook's stdin as messages.
type stdin struct {
	r     io.Reader
	field protowire.Number
	buf   []byte
	ready []byte // of a message
}

// Read begins the next message when the one before has been read.
func (s *stdin) Read(p []byte) (int, error) {
	for len(s.ready) == 0 {
		if s.buf == nil {
			s.buf = make([]byte, chunk)
		}
		n, err := s.r.Read(s.buf)
		if n > 0 { // an error comes again
			s.ready = call.Frame(with(nil, s.field, s.buf[:n]))
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(p, s.ready)
	s.ready = s.ready[n:]
	return n, nil
}
