package settings

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// CheckPorts tries to listen on each public port and lets go of it at once. The
// error says for each port that cannot be had what is wrong and which variable
// to change.
func (s Settings) CheckPorts(ctx context.Context) error {
	var faults []error
	for _, p := range s.ports() {
		faults = append(faults, checkPort(ctx, p.variable, s.addr(p.number)))
	}
	return errors.Join(faults...)
}

func checkPort(ctx context.Context, variable, addr string) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	_, port, _ := net.SplitHostPort(addr)
	switch {
	case err == nil:
		return ln.Close()
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %s (%s) is in use by another program; stop that one, or set %s to a free port", port, addr, variable)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("port %s (%s) is not allowed for this user; set %s to a port above 1023", port, addr, variable)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("this machine has no address for %s; set %s to one that it has", addr, VarBind)
	default:
		return fmt.Errorf("cannot listen on %s (%s, %s): %w", addr, variable, VarBind, err)
	}
}
