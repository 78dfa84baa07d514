package meter

import (
	"os"
	"syscall"
)

// usedBy reads the usage of an ended process and of the children that it waited for.
func usedBy(state *os.ProcessState) Used {
	u := Used{CPU: state.UserTime() + state.SystemTime()}
	if ru, ok := state.SysUsage().(*syscall.Rusage); ok {
		u.Peak = ru.Maxrss << 10 // getrusage(2): kilobytes
	}
	return u
}
