// Package netx opens listeners and connections by the address forms that every
// service accepts, and HTTP servers with the limits of security-baseline.md §10.
package netx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// maxUnixPath is the longest path a Unix socket address holds on Linux.
const maxUnixPath = 107

// Split parses "host:port", "tcp://host:port" or "unix:/path" into what package
// net wants.
func Split(addr string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		switch {
		case path == "":
			return "", "", fmt.Errorf("address %q names no socket", addr)
		case len(path) > maxUnixPath:
			return "", "", fmt.Errorf("socket path %q is %d bytes long; the system allows %d: choose a shorter directory",
				path, len(path), maxUnixPath)
		}
		return "unix", path, nil
	}
	hostport := strings.TrimPrefix(addr, "tcp://")
	if _, _, err := net.SplitHostPort(hostport); err != nil {
		return "", "", fmt.Errorf("address %q: want host:port, tcp://host:port or unix:/path", addr)
	}
	return "tcp", hostport, nil
}

// Listen opens a listener. A Unix socket gets mode 0600; one that a dead process
// left behind is replaced, one that still answers is an error.
func Listen(addr string) (net.Listener, error) {
	network, address, err := Split(addr)
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig // opening a listener does not wait, so no context ends it
	if network != "unix" {
		ln, err := lc.Listen(context.Background(), network, address)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		return ln, nil
	}
	if err := removeStale(address); err != nil {
		return nil, err
	}
	ln, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	if err := os.Chmod(address, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", addr, err), ln.Close())
	}
	return ln, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for an old socket: %w", err)
	}
	if info.Mode()&fs.ModeSocket == 0 {
		return fmt.Errorf("%q exists and is not a socket", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c, err := (&net.Dialer{}).DialContext(ctx, "unix", path); err == nil {
		return errors.Join(fmt.Errorf("socket %q is in use by a running process", path), c.Close())
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the old socket: %w", err)
	}
	return nil
}

// Dialer returns a function that connects to addr, in the forms of Split.
func Dialer(addr string) func(ctx context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		network, address, err := Split(addr)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
		return d.DialContext(ctx, network, address)
	}
}

// HTTPServer returns a server for h with bounds on headers and idle time, and
// none on bodies: packs take as long as they take.
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
