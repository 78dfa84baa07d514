package rundir

import (
	"bytes"
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

// EndWriters kills the git processes that a dead gitaly left at work in a storage,
// and returns how many there were. The caller must hold the storage alone and not
// have started any: then leftovers in it belong to nobody.
func EndWriters(storage string) (int, error) {
	repository, ours := []byte("--git-dir\x00"+storage+"/"), []byte("core.hooksPath=")
	return end(storage, func(cmdline, _ []byte) bool {
		return bytes.Contains(cmdline, repository) && bytes.Contains(cmdline, ours)
	})
}

// endOrphans kills every process that a dead gitaly started: its command line or
// environment names that gitaly's runtime directory.
func endOrphans(dir string) (int, error) {
	needle := []byte(dir + "/")
	return end(dir, func(cmdline, environ []byte) bool {
		return bytes.Contains(cmdline, needle) || bytes.Contains(environ, needle)
	})
}

// end kills the processes that match, with their groups, and waits for their end.
func end(what string, match func(cmdline, environ []byte) bool) (int, error) {
	first, err := find(match)
	if err != nil {
		return 0, err
	}
	left := first
	for range orphanPolls {
		if len(left) == 0 {
			return len(first), nil
		}
		for _, pid := range left {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // our children lead groups; ESRCH if this one does not
			_ = syscall.Kill(pid, syscall.SIGKILL)  // ESRCH: it was faster
		}
		<-time.After(orphanPoll)
		if left, err = find(match); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("processes of %q do not end", what)
}

func find(match func(cmdline, environ []byte) bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline")) // it may have ended
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ")) // or be somebody else's
		if match(cmdline, environ) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
