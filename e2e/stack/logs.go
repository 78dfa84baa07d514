package stack

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Line is one access line of a service's log.
type Line struct {
	Service       string    `json:"service"`
	Msg           string    `json:"msg"`
	CorrelationID string    `json:"correlation_id"`
	StartedAt     time.Time `json:"started_at"`
	Method        string    `json:"method"`
	Route         string    `json:"route"`
	Path          string    `json:"path"`
	Status        int       `json:"status"`
	RPC           string    `json:"rpc"`
	Command       string    `json:"command"`
	Job           string    `json:"job"`
	Changes       string    `json:"changes"`
	Project       string    `json:"project"`
	User          string    `json:"user"`
}

// AccessLog returns the access lines of all services, ordered by when each
// request began.
func (s *Stack) AccessLog() ([]Line, error) {
	files, err := filepath.Glob(filepath.Join(s.Home, "log", "*.log"))
	if err != nil {
		return nil, err
	}
	var lines []Line
	for _, file := range files {
		some, err := accessLines(file)
		if err != nil {
			return nil, err
		}
		lines = append(lines, some...)
	}
	slices.SortStableFunc(lines, func(a, b Line) int { return a.StartedAt.Compare(b.StartedAt) })
	return lines, nil
}

func accessLines(file string) (lines []Line, err error) {
	f, err := os.Open(file) //nolint:gosec // a test's own home
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read only
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var l Line
		// Lines of PostgreSQL and Redis are not JSON.
		if json.Unmarshal(scan.Bytes(), &l) == nil && l.Msg == "access" {
			lines = append(lines, l)
		}
	}
	return lines, scan.Err()
}
