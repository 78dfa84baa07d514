package netx_test

import (
	"errors"
	"net"
	"path/filepath"
	"testing"

	"gitsplit/kit/netx"
)

func TestLastCall(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		inner, err := netx.Listen(addr)
		if err != nil {
			t.Fatal(err)
		}
		ln := netx.LastCall(inner)
		at := ln.Addr()
		for i := range 4 { // only the first is accepted before the end
			c, err := net.Dial(at.Network(), at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if i > 0 {
				continue
			}
			if c, err = ln.Accept(); err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		if err := ln.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		accepted := 0
		for {
			c, err := ln.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("accept at the end: %v", err)
				}
				break
			}
			accepted++
			c.Close()
		}
		if accepted != 3 {
			t.Errorf("%s: %d connections of 3 were accepted", at.Network(), accepted)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept afterwards: %v", err)
		}
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("close twice: %v", err)
		}
		if c, err := net.Dial(at.Network(), at.String()); err == nil {
			c.Close()
			t.Error("the address still takes connections")
		}
	}
}

// TestLastCall_wakes: who waits in Accept is told of the end.
func TestLastCall_wakes(t *testing.T) {
	t.Parallel()
	inner, err := netx.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := netx.LastCall(inner)
	ended := make(chan error, 1)
	go func() {
		_, err := ln.Accept()
		ended <- err
	}()
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
}

// TestLastCall_unused: nobody has to accept who has not begun to.
func TestLastCall_unused(t *testing.T) {
	t.Parallel()
	inner, err := netx.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := netx.LastCall(inner).Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", inner.Addr().String()); err == nil {
		c.Close()
		t.Error("the address takes connections")
	}
}
