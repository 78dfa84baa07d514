package stack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
)

var databaseURL = regexp.MustCompile(`(?m)^database_url: *"?([^"\n]+)"?$`)

// SQL runs a statement in the instance's database, for states that no API makes.
func (s *Stack) SQL(ctx context.Context, statement string) error {
	config, err := os.ReadFile(filepath.Join(s.Home, "config", "rails-api.yml")) //nolint:gosec // a test's own home
	if err != nil {
		return err
	}
	m := databaseURL.FindSubmatch(config)
	if m == nil {
		return fmt.Errorf("no database_url in the configuration:\n%s", config)
	}
	cmd := exec.CommandContext(ctx, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+string(m[1]), "--command="+statement) //nolint:gosec // test
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w\n%s", err, out)
	}
	return nil
}
