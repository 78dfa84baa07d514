package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// daemon is a server process in the foreground. It ends with us, whatever happens.
type daemon struct {
	cmd  *exec.Cmd
	said *bytes.Buffer
	done chan struct{}
	once sync.Once
}

func startDaemon(path string, args ...string) (*daemon, error) {
	d := &daemon{cmd: exec.Command(path, args...), said: new(bytes.Buffer), done: make(chan struct{})} //nolint:gosec,noctx // Close ends it
	d.cmd.Stdout, d.cmd.Stderr = d.said, d.said
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()
	return d, nil
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// ready waits until the address takes connections.
func (d *daemon) ready(ctx context.Context, network, addr string) error {
	for end := time.Now().Add(20 * time.Second); ; {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return errors.Join(err, d.close())
		}
		select {
		case <-d.done:
			return fmt.Errorf("%s ended: %s", d.cmd.Path, d.said)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), d.close())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// close ends the process and everything in its group.
func (d *daemon) close() error {
	d.once.Do(func() {
		_ = syscall.Kill(-d.pid(), syscall.SIGTERM) // gone already: fine
		select {
		case <-d.done:
		case <-time.After(5 * time.Second):
		}
		_ = syscall.Kill(-d.pid(), syscall.SIGKILL)
		<-d.done
	})
	return nil
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // closed at once
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}
