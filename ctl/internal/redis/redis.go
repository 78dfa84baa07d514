// Package redis knows how the private Redis of a home is configured and how to
// tell that it serves. It keeps nothing on disk: Redis carries caches, counters
// and wake-ups, and may be lost at any time (design.md §4).
package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
)

// Find returns the path of redis-server.
func Find() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", errors.New("redis-server is not installed; run: apt-get install redis-server")
	}
	return path, nil
}

// Config returns the text of redis.conf: a Unix socket for one user and no port,
// no persistence, bounded memory. Neither path may hold quotes or backslashes.
func Config(socket, dir string) string {
	return strings.Join([]string{
		"port 0",
		`unixsocket "` + socket + `"`,
		"unixsocketperm 600",
		`dir "` + dir + `"`,
		`save ""`,
		"appendonly no",
		"daemonize no",
		`logfile ""`,
		"loglevel notice",
		"maxmemory 128mb",
		"maxmemory-policy volatile-lru",
		"",
	}, "\n")
}

// Ready sends a PING to the socket.
func Ready(ctx context.Context, socket string) (err error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return fmt.Errorf("redis: ping: %w", err)
	}
	answer, err := bufio.NewReaderSize(conn, 64).ReadSlice('\n')
	if err != nil || string(answer) != "+PONG\r\n" {
		return fmt.Errorf("redis: ping was answered with %q: %w", answer, errors.Join(errNoPong, err))
	}
	return nil
}

var errNoPong = errors.New("not a pong")
