package sshd

import (
	"net"
	"syscall"
)

// quickAck acknowledges what has arrived at once. OpenSSH's client sends messages
// of the handshake in pairs, and its TCP holds the second back until the first is
// acknowledged; a delayed acknowledgement costs 40 ms each time. The kernel forgets
// the option soon, so it is set again for each read.
func quickAck(conn net.Conn) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = raw.Control(func(fd uintptr) { // it is only a matter of speed
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
