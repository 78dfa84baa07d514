package relay

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"gitsplit/kit/pktline"
	"gitsplit/services/hooks/internal/call"
)

// socketKey names the metadata with the path of the socket for the data, which has
// this base name (wire/gitaly.md §6.7).
const (
	socketKey  = "gitaly-sidechannel-socket"
	socketName = "sidechannel"
)

// maxSocketPath is what a Unix socket address holds on Linux.
const maxSocketPath = 107

// readSize takes a pair of packets at a time from the socket.
const readSize = 128 << 10

// packObjects has gitaly make the pack. The RPC carries what is asked; the data travels
// on a Unix socket of this process, to which gitaly connects.
func (c *client) packObjects(ctx context.Context, args []string, s Streams) (int32, error) {
	if len(args) < 2 || args[0] != "git" {
		return 1, fmt.Errorf("%w: want git pack-objects, got %q", errUsage, args)
	}
	dir, ln, err := c.listen(ctx)
	if err != nil {
		return 1, err
	}
	forget := func() {
		_ = ln.Close()
		_ = os.RemoveAll(dir)
	}
	defer forget()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- c.askForPack(ctx, args[1:], filepath.Join(dir, socketName))
		_ = ln.Close() // nobody connects any more
	}()
	conn, err := ln.Accept()
	if err != nil {
		return 1, errors.Join(<-ended, err)
	}
	forget()
	if err := exchange(conn, s); err != nil {
		cancel() // nobody is left to take the pack
		return 1, errors.Join(<-ended, err)
	}
	if err := <-ended; err != nil {
		return 1, err
	}
	return 0, nil
}

// listen opens the socket in a directory of its own, below gitaly's runtime directory
// unless that has too long a name.
func (c *client) listen(ctx context.Context) (dir string, ln net.Listener, err error) {
	base, pattern := filepath.Join(c.payload.RuntimeDir, "chan.d"), ""
	if c.payload.RuntimeDir == "" || len(base)+len("/1234567890/"+socketName) > maxSocketPath {
		base, pattern = "", "gitaly"
	}
	if dir, err = os.MkdirTemp(base, pattern); err != nil {
		return "", nil, err
	}
	if ln, err = (&net.ListenConfig{}).Listen(ctx, "unix", filepath.Join(dir, socketName)); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, ln, nil
}

// askForPack makes the call, whose answer has nothing in it.
func (c *client) askForPack(ctx context.Context, args []string, socket string) error {
	called, err := c.call(ctx, "PackObjectsHookWithSidechannel", bytes.NewReader(call.Frame(c.packRequest(args))), socketKey, socket)
	if err != nil {
		return err
	}
	defer called.Close()
	if _, err := called.Receive(); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	} else if err != nil {
		return err
	}
	if _, err := called.Receive(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func (c *client) packRequest(args []string) message {
	m := always(nil, 1, repository(c.repository)).list(2, args)
	if u := c.payload.UserDetails; u != nil {
		m = with(with(with(with(m, 3, u.UserID), 5, u.Username), 6, u.Protocol), 7, u.RemoteIP)
	}
	return m.list(8, c.environ)
}

// exchange sends stdin and writes what comes back, until gitaly closes.
func exchange(conn net.Conn, s Streams) error {
	defer func() { _ = conn.Close() }()
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(conn, s.Stdin)
		half, _ := conn.(interface{ CloseWrite() error }) // as Unix sockets have it
		sent <- errors.Join(err, half.CloseWrite())
	}()
	packets := pktline.NewScanner(bufio.NewReaderSize(conn, readSize))
	defer packets.Close()
	for packets.Scan() {
		if err := output(packets.Payload(), s); err != nil {
			return err
		}
	}
	if err := packets.Err(); err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	return <-sent
}

// output writes one packet to the stream of its band.
func output(packet []byte, s Streams) error {
	w := s.Stdout
	switch {
	case len(packet) > 0 && packet[0] == pktline.BandData:
	case len(packet) > 0 && packet[0] == pktline.BandProgress:
		w = s.Stderr
	default:
		return errors.New("read pack: not a packet of a known band")
	}
	_, err := w.Write(packet[1:])
	return err
}
