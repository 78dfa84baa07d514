package suite

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

var credentials = regexp.MustCompile(`://[^/@\s]+@`)

// failure tells which command failed and what it said, without credentials and short
// enough for a table.
func failure(cmd *exec.Cmd, out []byte, err error) error {
	const most = 400
	said := strings.Join(strings.Fields(string(out)), " ")
	if len(said) > most {
		said = said[:most] + "…"
	}
	return fmt.Errorf("%s: %w: %s", credentials.ReplaceAllString(strings.Join(cmd.Args, " "), "://"), err, credentials.ReplaceAllString(said, "://"))
}
