package containers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"gitsplit/kit/durable"
)

// VarSecrets is the directory in which an orchestrator mounts a container's secrets.
const VarSecrets = "GITSPLIT_SECRETS"

// Configure is for containers that an orchestrator gives their secrets, as Kubernetes
// does: it copies the files of the directory mounted to the home, for their owner
// alone, and writes every configuration file. Nothing is made up: a secret that is
// not there is missed by the service that needs it.
//
// A copy, because a secret that Kubernetes mounts belongs to root and is readable by
// a group, which the services refuse (security-baseline.md T3).
func (p Plan) Configure(mounted string) error {
	entries, err := os.ReadDir(mounted)
	if err != nil {
		return fmt.Errorf("%s: %w", VarSecrets, err)
	}
	var errs []error
	for _, entry := range entries {
		// Kubernetes has its own entries there, which begin with two dots.
		if name := entry.Name(); !strings.HasPrefix(name, ".") {
			errs = append(errs, p.take(filepath.Join(mounted, name), name))
		}
	}
	return errors.Join(append(errs, p.writeConfigs())...)
}

func (p Plan) take(from, name string) error {
	info, err := os.Stat(from) // what is mounted are links
	if err != nil {
		return fmt.Errorf("%s: %w", VarSecrets, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: %w", VarSecrets, &fs.PathError{Op: "copy", Path: from, Err: errors.New("not a plain file")})
	}
	text, err := os.ReadFile(from) //nolint:gosec // the operator names the directory
	if err != nil {
		return fmt.Errorf("%s: %w", VarSecrets, err)
	}
	return durable.WriteFile(p.Home.Secret(name), text, private)
}
