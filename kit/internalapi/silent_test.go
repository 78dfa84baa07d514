package internalapi_test

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"gitsplit/kit/internalapi"
)

// silent is an address that does not answer, as that of a container that has just gone: a socket at which as many wait
// as it lets wait.
func silent(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port) //nolint:forcetypeassert // it is one
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return addr
}

// TestClient_silent: connecting has an end of its own, before the call's.
func TestClient_silent(t *testing.T) {
	t.Parallel()
	c := newClient(t, internalapi.Config{URL: "http://" + silent(t)}, nil)
	_, err := c.Check(t.Context())
	op, ok := errors.AsType[*net.OpError](err)
	if !errors.Is(err, internalapi.ErrUnreachable) || !ok || op.Op != "dial" || !op.Timeout() || t.Context().Err() != nil {
		t.Errorf("%v", err)
	}
}
