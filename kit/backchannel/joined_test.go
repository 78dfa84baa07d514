package backchannel

import (
	"bytes"
	"errors"
	"net"
	"testing"
)

// segments is a connection that notes what each write brings.
type segments struct {
	net.Conn
	got  [][]byte
	fail error
}

func (s *segments) Write(p []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	s.got = append(s.got, bytes.Clone(p))
	return len(p), nil
}

func TestJoined(t *testing.T) {
	t.Parallel()
	body := []byte("hello")
	data := []byte{0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, byte(len(body))}
	end := []byte{0, 0, 0, 4, 0, 0, 0, 2, 0, 0, 0, 0}       // a data frame that ends the stream, without a body
	window := []byte{0, 1, 0, 1, 0, 0, 0, 2, 0, 0xfc, 0, 0} // a length that announces no body
	under := &segments{}
	c := &joined{Conn: under}
	for _, p := range [][]byte{window, data, body, end, data, data[:5], window} {
		if n, err := c.Write(p); n != len(p) || err != nil {
			t.Errorf("Write(%v) = %d, %v", p, n, err)
		}
	}
	if got, want := bytes.Join(under.got, nil), bytes.Join([][]byte{window, data, body, end, data, data[:5], window}, nil); !bytes.Equal(got, want) {
		t.Errorf("written %v, want %v", got, want)
	}
	if n, err := c.Write(data); n != len(data) || err != nil {
		t.Errorf("a header: %d, %v", n, err)
	}
	under.fail = errors.New("broken")
	if n, err := c.Write(body); n != 0 || !errors.Is(err, under.fail) {
		t.Errorf("a body that cannot be written: %d, %v", n, err)
	}
}

// TestJoined_socket: a Unix socket gets both in one piece.
func TestJoined_socket(t *testing.T) {
	t.Parallel()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unixpacket", t.TempDir()+"/s") // keeps what one call writes together
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // test
	client, err := (&net.Dialer{}).DialContext(t.Context(), "unixpacket", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close() //nolint:errcheck // test
	server, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // test
	c := &joined{Conn: client}
	body := bytes.Repeat([]byte("x"), 1000)
	for _, p := range [][]byte{{0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 3, 0xe8}, body} {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, 2000)
	if n, err := server.Read(got); n != headerSize+len(body) || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}
