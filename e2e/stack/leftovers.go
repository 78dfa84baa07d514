package stack

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Leftovers names what pushes must never leave behind: quarantine directories,
// lock files, git and hook processes, and counters of pushes in flight.
func (s *Stack) Leftovers(ctx context.Context) ([]string, error) {
	found, err := s.leftFiles()
	if err != nil {
		return nil, err
	}
	procs, err := s.leftProcesses()
	if err != nil {
		return nil, err
	}
	counters, err := s.leftCounters(ctx)
	return append(append(found, procs...), counters...), err
}

func (s *Stack) leftFiles() ([]string, error) {
	var found []string
	root := filepath.Join(s.Home, "data", "repositories")
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // removed while we walked
		}
		name := filepath.Base(path)
		if strings.HasPrefix(name, "tmp_objdir") || strings.HasPrefix(name, "incoming-") ||
			strings.HasSuffix(name, ".lock") || strings.HasPrefix(name, "tmp_pack_") || strings.HasPrefix(name, "quarantine-") {
			found = append(found, "file "+path)
		}
		return err
	})
	return found, err
}

// leftProcesses looks for git processes that work in one of our repositories.
func (s *Stack) leftProcesses() ([]string, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var found []string
	for _, file := range dirs {
		raw, err := os.ReadFile(file) //nolint:gosec // procfs
		if err != nil || len(raw) == 0 {
			continue // gone meanwhile, or a kernel thread
		}
		args := strings.Split(strings.TrimRight(string(raw), "\x00"), "\x00")
		name := filepath.Base(args[0])
		isGit := strings.HasPrefix(name, "git") && !strings.HasPrefix(name, "gitaly") && !strings.HasPrefix(name, "gitlab") && name != "gitsplit"
		if (isGit || name == "gitaly-hooks") && strings.Contains(string(raw), s.Home) {
			found = append(found, "process "+strings.Join(args, " "))
		}
	}
	return found, nil
}

// leftCounters asks Redis for counters of pushes in flight that are not zero.
func (s *Stack) leftCounters(ctx context.Context) ([]string, error) {
	socket, err := filepath.EvalSymlinks(filepath.Join(s.Home, "run", "redis.sock"))
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close() //nolint:errcheck // a question and an answer
	const script = `local out = {}; for _, k in ipairs(redis.call('keys', 'git-receive-pack-reference-counter:*')) do ` +
		`local v = redis.call('get', k); if v ~= '0' then out[#out+1] = k .. '=' .. v end end; ` +
		`for _, k in ipairs(redis.call('keys', 'git-receive-pack-pushes:*')) do ` +
		`out[#out+1] = k .. '=' .. table.concat(redis.call('zrange', k, 0, -1), ',') end; return table.concat(out, ' ')`
	if _, err := fmt.Fprintf(conn, "*3\r\n$4\r\nEVAL\r\n$%d\r\n%s\r\n$1\r\n0\r\n", len(script), script); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	head, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	size, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(head, "$")))
	if err != nil || size < 0 {
		return nil, fmt.Errorf("redis answered %q", head)
	}
	if size == 0 {
		return nil, nil
	}
	text, err := r.ReadString('\r')
	return []string{"counter " + strings.TrimSpace(text)}, err
}
