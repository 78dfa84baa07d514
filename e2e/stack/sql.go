package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var databaseURL = regexp.MustCompile(`(?m)^database_url: *"?([^"\n]+)"?$`)

// SQL runs a statement in the instance's database, for states that no API makes.
func (s *Stack) SQL(ctx context.Context, statement string) error {
	_, err := s.psql(ctx, statement)
	return err
}

// Query returns the rows of a question, for what no API tells.
func (s *Stack) Query(ctx context.Context, question string) ([][]string, error) {
	out, err := s.psql(ctx, question)
	var rows [][]string
	for line := range strings.Lines(out) {
		rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "|"))
	}
	return rows, err
}

func (s *Stack) psql(ctx context.Context, statement string) (string, error) {
	config, err := os.ReadFile(filepath.Join(s.Home, "config", "rails-api.yml")) //nolint:gosec // a test's own home
	if err != nil {
		return "", err
	}
	m := databaseURL.FindSubmatch(config)
	if m == nil {
		return "", fmt.Errorf("no database_url in the configuration:\n%s", config)
	}
	cmd := exec.CommandContext(ctx, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", //nolint:gosec // test
		"--dbname="+string(m[1]), "--command="+statement)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("psql: %w\n%s", err, stderr.String())
	}
	return string(out), nil
}
