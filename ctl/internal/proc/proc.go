// Package proc reads the few facts about running processes that gitsplit needs
// from /proc (proc(5)).
package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ErrFormat says that a file below /proc does not look as documented.
var ErrFormat = errors.New("unexpected content")

// StartTicks returns when the process was started, in clock ticks since boot.
// Together with the pid it names one process for as long as the machine runs. The
// error is os.ErrNotExist if there is no such process.
func StartTicks(pid int) (uint64, error) {
	text, err := os.ReadFile(file(pid, "stat"))
	if err != nil {
		return 0, err
	}
	return parseStart(text)
}

// parseStart takes field 22 of a stat line. The second field, the name in
// parentheses, may hold anything, so counting begins after the last parenthesis.
func parseStart(text []byte) (uint64, error) {
	const afterName = 22 - 3 // field 3 is the first one after the name
	end := bytes.LastIndexByte(text, ')')
	fields := bytes.Fields(text[end+1:])
	if end < 0 || len(fields) <= afterName {
		return 0, fmt.Errorf("stat: %w", ErrFormat)
	}
	ticks, err := strconv.ParseUint(string(fields[afterName]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("stat: start time: %w", ErrFormat)
	}
	return ticks, nil
}

// Alive reports whether the process with this pid and start time still runs.
// One that has ended and waits to be reaped does not.
func Alive(pid int, startTicks uint64) bool {
	text, err := os.ReadFile(file(pid, "stat"))
	if err != nil {
		return false
	}
	ticks, err := parseStart(text)
	end := bytes.LastIndexByte(text, ')')
	return err == nil && ticks == startTicks && !bytes.HasPrefix(text[end+1:], []byte(" Z"))
}

// Resident returns the bytes of memory that the process has in RAM.
func Resident(pid int) (int64, error) {
	text, err := os.ReadFile(file(pid, "statm"))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm: %w", ErrFormat)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("statm: %w", ErrFormat)
	}
	return pages * int64(os.Getpagesize()), nil
}

// WorkDir returns the working directory of the process.
func WorkDir(pid int) (string, error) { return os.Readlink(file(pid, "cwd")) }

func file(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}
