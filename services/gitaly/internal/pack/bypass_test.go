package pack

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
)

// client is what a fetch's client has received.
type client struct {
	mu  sync.Mutex
	out bytes.Buffer
	err error
}

func (c *client) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return 0, c.err
	}
	return c.out.Write(p)
}

func (c *client) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

func openWay(s *Service) (c *client, way *bypass, id string, closed func()) {
	c = &client{}
	b := &bands{w: c, reason: newReason(machine(false))}
	way = newBypass(b, b, func() {})
	id, closed = s.openBypass(way)
	return c, way, id, closed
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if n, err := io.WriteString(w, text); n != len(text) || err != nil {
		t.Errorf("wrote %d of %q, %v", n, text, err)
	}
}

// TestBypass: the pack follows its announcement, and upload-pack's signs of life go
// between its packets, however it is cut.
func TestBypass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		c, way, id, closed := openWay(s)
		defer closed()
		var want string
		for range 2 { // fetches of one session
			var pack io.Writer
			var release func()
			taken := make(chan struct{})
			go func() {
				defer close(taken)
				pack, release = s.Bypass(t.Context(), id, []string{"pack-objects", "--stdout"})
			}()
			say(t, way, pkt("shallow-info\n", "0001")+"000dpack")
			synctest.Wait()
			if pack != nil {
				t.Fatal("a pack before its announcement")
			}
			say(t, way, "file\n")
			<-taken
			if pack == nil {
				t.Fatal("no way for the pack")
			}
			say(t, way, keepAlive)
			data := pkt("\x01PACK...", "\x02progress")
			say(t, pack, data[:7])
			alive := make(chan struct{})
			go func() {
				defer close(alive)
				say(t, way, keepAlive)
			}()
			synctest.Wait()
			want += pkt("shallow-info\n", "0001", "packfile\n") + keepAlive + data[:7]
			if c.String() != want {
				t.Fatalf("the client got %q, want %q", c.String(), want)
			}
			say(t, pack, data[7:])
			<-alive
			release()
			say(t, way, "0000")
			want += data[7:] + keepAlive + "0000"
		}
		if c.String() != want {
			t.Errorf("the client got %q, want %q", c.String(), want)
		}
	})
}

// TestBypass_none: then upload-pack gets the pack.
func TestBypass_none(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		_, way, id, closed := openWay(s)
		say(t, way, pkt("packfile\n"))
		for name, ask := range map[string]func() io.Writer{
			"URLs in the pack": func() io.Writer { w, _ := s.Bypass(t.Context(), id, []string{"--uri-protocol=https"}); return w },
			"a stranger":       func() io.Writer { w, _ := s.Bypass(t.Context(), NewID(), nil); return w },
			"no id":            func() io.Writer { w, _ := s.Bypass(t.Context(), "", nil); return w },
		} {
			if ask() != nil {
				t.Errorf("%s: the pack passes by", name)
			}
		}
		closed()
		if w, _ := s.Bypass(t.Context(), id, nil); w != nil {
			t.Error("a way to the client of a fetch that is over")
		}
		if len(s.bypasses) != 0 {
			t.Errorf("%d ways stay", len(s.bypasses))
		}
		_, silent, id, closed := openWay(s)
		defer closed()
		say(t, silent, pkt("\x01packfile\n"))
		if w, _ := s.Bypass(t.Context(), id, nil); w != nil {
			t.Error("a pack before its announcement")
		}
	})
}

// TestBypass_broken: nothing follows what the client did not get whole.
func TestBypass_broken(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	begin := func() (*client, *bypass, io.Writer, func(), func()) {
		c, way, id, closed := openWay(s)
		say(t, way, pkt("packfile\n"))
		pack, release := s.Bypass(t.Context(), id, nil)
		return c, way, pack, release, closed
	}
	_, way, pack, release, closed := begin()
	say(t, pack, "0009\x01PA")
	release()
	if _, err := io.WriteString(way, "0000"); !errors.Is(err, errBrokenOff) {
		t.Errorf("after half a packet: %v", err)
	}
	closed()

	c, way, pack, release, closed := begin()
	c.err = io.ErrClosedPipe
	for name, w := range map[string]io.Writer{"the pack": pack, "upload-pack": way} {
		if _, err := io.WriteString(w, pkt("\x01x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("%s, when the client is gone: %v", name, err)
		}
	}
	release()
	closed()

	c, _, pack, release, closed = begin()
	closed()
	if _, err := io.WriteString(pack, pkt("\x01x")); !errors.Is(err, errFetchOver) || c.String() != pkt("packfile\n") {
		t.Errorf("after the end of the fetch: %v, the client got %q", err, c.String())
	}
	release()
}
