package meter

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// Used is what a program and everything that it started has used.
type Used struct {
	CPU  time.Duration `json:"cpu"`
	Peak int64         `json:"peak"` // of its largest process, in bytes
}

// Wrap runs a program on our own standard streams, writes what it used to file, and
// returns its exit code. With it as git's --upload-pack, the server's side of a clone
// from a local path can be told from the client's.
func Wrap(file string, argv []string) (int, error) {
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:gosec,noctx // ends with its streams, as the program itself would
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		return 127, err
	}
	raw, err := json.Marshal(usedBy(cmd.ProcessState))
	if err != nil {
		return 1, err
	}
	return cmd.ProcessState.ExitCode(), os.WriteFile(file, raw, 0o600)
}

// ReadUsed returns what Wrap wrote.
func ReadUsed(file string) (u Used, err error) {
	raw, err := os.ReadFile(file) //nolint:gosec // our own scratch file
	if err != nil {
		return u, err
	}
	if err := json.Unmarshal(raw, &u); err != nil {
		return u, fmt.Errorf("%s: %w", file, err)
	}
	return u, nil
}
