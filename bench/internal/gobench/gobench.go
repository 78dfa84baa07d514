// Package gobench runs benchmarks of other modules' tests and reads what they print.
package gobench

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// Lines are the results by benchmark; each is a run, with its numbers by unit.
type Lines map[string][]map[string]float64

// Run runs the benchmarks that match in a package, count times, and returns the results.
func Run(ctx context.Context, dir, pkg, match, length string, count int) (Lines, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", match, "-benchmem", "-benchtime", length, "-count", strconv.Itoa(count), pkg)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go test -bench %s: %w: %s", match, err, out)
	}
	return Parse(string(out)), nil
}

// procs is what go test adds to names when there is more than one processor.
var procs = regexp.MustCompile(`-\d+$`)

// Parse reads the output of go test -bench; lines of any other kind are left out.
func Parse(text string) Lines {
	out := Lines{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		values := map[string]float64{}
		for i := 2; i+1 < len(f); i += 2 {
			if x, err := strconv.ParseFloat(f[i], 64); err == nil {
				values[f[i+1]] = x
			}
		}
		name := procs.ReplaceAllString(f[0], "")
		out[name] = append(out[name], values)
	}
	return out
}
