// Package call makes one gRPC call with the HTTP/2 of net/http. The gRPC library takes
// longer to start than a hook has to do, and a push starts two of them.
package call

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// Codes of gRPC that mean something here.
const (
	ok                = "0"
	ResourceExhausted = 8
)

// Status is how a call ended that did not succeed.
type Status struct {
	Code    int
	Message string // percent-encoded, as it came
}

// Error names the code and what the server said.
func (s *Status) Error() string { return fmt.Sprintf("gRPC status %d: %s", s.Code, s.Message) }

// Call is a call whose answers are to be received.
type Call struct{ response *http.Response }

// Make connects to a Unix socket and calls the method, "/service/name", with messages as
// Frame makes them. It returns when the server answers; Close must be called. The end of
// ctx breaks the call off.
func Make(ctx context.Context, socket, method string, metadata http.Header, messages io.Reader) (*Call, error) {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	t := &http.Transport{Protocols: &only, DisableCompression: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost"+method, io.NopCloser(messages))
	if err != nil {
		return nil, err
	}
	req.Header = metadata
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	res, err := t.RoundTrip(req) //nolint:bodyclose // Close does it
	if err != nil {
		return nil, fmt.Errorf("call gitaly: %w", err)
	}
	return &Call{response: res}, nil
}

// Close ends the call.
func (c *Call) Close() { _ = c.response.Body.Close() }

// prefix is what stands before each message: compressed or not, and its length.
const prefix = 5

// maxMessage bounds an answer.
const maxMessage = 4 << 20

// Frame puts the prefix before a message.
func Frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}

// Receive returns the next answer; io.EOF after the last one of a call that succeeded,
// *Status of one that did not.
func (c *Call) Receive() ([]byte, error) {
	var head [prefix]byte
	if _, err := io.ReadFull(c.response.Body, head[:]); errors.Is(err, io.EOF) {
		return nil, c.end()
	} else if err != nil {
		return nil, fmt.Errorf("receive from gitaly: %w", err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return nil, errors.New("answer is compressed or too long")
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(c.response.Body, message); err != nil {
		return nil, fmt.Errorf("receive from gitaly: %w", noEnd(err))
	}
	return message, nil
}

// noEnd is for an end where there should be none, which must not look like success.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// end reads the status, which comes after the answers, or in their place.
func (c *Call) end() error {
	fields := c.response.Trailer
	if fields.Get("Grpc-Status") == "" {
		fields = c.response.Header
	}
	text := fields.Get("Grpc-Status")
	code, err := strconv.Atoi(text)
	switch {
	case c.response.StatusCode != http.StatusOK || err != nil:
		return fmt.Errorf("gitaly answers with HTTP status %d and gRPC status %q", c.response.StatusCode, text)
	case text == ok:
		return io.EOF
	}
	return &Status{Code: code, Message: fields.Get("Grpc-Message")}
}
