// Package meter reads what processes use: the processor time of whole process trees,
// with the children that have ended, and the peak memory of each process. It reads
// /proc (proc(5)), so it sees programs as they are, ours and others alike.
package meter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor times in /proc/<pid>/stat: USER_HZ, 100 on all
// platforms that Go knows. The kernel rounds totals only, so that sums over many short
// children are exact to a tick.
const tick = 10 * time.Millisecond

// Proc is one process.
type Proc struct {
	PID, Parent int
	Name        string
	Self        time.Duration // processor time of its own
	Children    time.Duration // of children that have ended and been waited for
}

// parseStat reads a line of /proc/<pid>/stat.
func parseStat(line []byte) (Proc, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')') // a name may contain anything
	if open < 1 || end < open {
		return Proc{}, fmt.Errorf("no name in %q", line)
	}
	fields := strings.Fields(string(line[end+1:])) // from the third field, the state
	if len(fields) < 15 {
		return Proc{}, fmt.Errorf("too few fields in %q", line)
	}
	var n [6]int64
	var bad error
	for i, s := range []string{string(bytes.TrimSpace(line[:open])), fields[1], fields[11], fields[12], fields[13], fields[14]} {
		v, err := strconv.ParseInt(s, 10, 64)
		n[i], bad = v, errors.Join(bad, err)
	}
	return Proc{
		PID: int(n[0]), Parent: int(n[1]), Name: string(line[open+1 : end]),
		Self: time.Duration(n[2]+n[3]) * tick, Children: time.Duration(n[4]+n[5]) * tick,
	}, bad
}

// Tree returns the processes of the trees below roots, the roots first. Processes
// that end meanwhile are left out.
func Tree(roots ...int) []Proc {
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	below := map[int][]Proc{}
	var out []Proc
	for _, file := range files {
		raw, err := os.ReadFile(file) //nolint:gosec // procfs
		if err != nil {
			continue
		}
		p, err := parseStat(raw)
		if err != nil {
			continue
		}
		if slices.Contains(roots, p.PID) {
			out = append(out, p)
		} else {
			below[p.Parent] = append(below[p.Parent], p)
		}
	}
	for i := 0; i < len(out); i++ {
		out = append(out, below[out[i].PID]...)
	}
	return out
}

// CPU is the processor time that the trees have used so far, with everything that has
// ended in them.
func CPU(roots ...int) time.Duration {
	var sum time.Duration
	for _, p := range Tree(roots...) {
		sum += p.Self + p.Children
	}
	return sum
}

// Memory is what a process has in memory, in bytes.
type Memory struct {
	RSS  int64 // resident now, with shared and mapped files
	Peak int64 // the most that was resident, since start or ResetPeak
	Anon int64 // resident now and its own: heaps, stacks
}

// MemoryOf reads the memory of a process; an error means that it is gone.
func MemoryOf(pid int) (Memory, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	return Memory{RSS: kib(raw, "VmRSS:"), Peak: kib(raw, "VmHWM:"), Anon: kib(raw, "RssAnon:")}, nil
}

// kib reads a line such as "VmRSS:	  1234 kB" and returns bytes; 0 if there is none.
func kib(status []byte, key string) int64 {
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// ResetPeak makes Peak count from now on. Only the owner of a process may.
func ResetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
