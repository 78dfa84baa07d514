package rundir

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Killing is quick; waiting for it has an end all the same.
const (
	orphanPoll  = 5 * time.Millisecond
	orphanPolls = 400
)

// endOrphans kills every process that a dead gitaly started: its command line or
// environment names that gitaly's runtime directory.
func endOrphans(dir string) (int, error) {
	pids, err := orphans(dir)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // ESRCH: it was faster
	}
	for range orphanPolls {
		left, err := orphans(dir)
		if err != nil || len(left) == 0 {
			return len(pids), err
		}
		<-time.After(orphanPoll)
	}
	return 0, fmt.Errorf("processes of %q do not end", dir)
}

func orphans(dir string) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	needle := []byte(dir + "/")
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			raw, err := os.ReadFile(filepath.Join("/proc", e.Name(), file))
			if err == nil && bytes.Contains(raw, needle) {
				pids = append(pids, pid)
				break
			}
			if err != nil && errors.Is(err, os.ErrNotExist) {
				break
			}
		}
	}
	return pids, nil
}
