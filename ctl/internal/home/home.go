// Package home owns $GITSPLIT_HOME: where everything of one installation lies,
// which directories, secrets and host keys it has, and the lock that keeps two
// supervisors apart. Everything here is made once and kept; nothing is ever
// overwritten. It does not know what the services do with the files.
package home

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultName is the directory used below the current directory when
// GITSPLIT_HOME is not set.
const DefaultName = ".gitsplit"

// Home names the paths of one installation. Make one with Resolve.
type Home struct {
	// Root is the absolute path of the home.
	Root string
	// Sockets is where Unix sockets are made: Root/run, or a short private
	// directory when that path is too long for a socket address.
	Sockets string
}

// Resolve returns the home at dir, or at DefaultName below the current directory
// if dir is empty. It touches no file. It fails for a path that could not be
// written unchanged into every configuration file and shell line we print.
func Resolve(dir string) (Home, error) {
	if dir == "" {
		dir = DefaultName
	}
	root, err := filepath.Abs(dir)
	if err != nil {
		return Home{}, fmt.Errorf("GITSPLIT_HOME: %w", err)
	}
	if err := checkPath(root); err != nil {
		return Home{}, err
	}
	return Home{Root: root, Sockets: socketDir(root, os.Getuid())}, nil
}

// checkPath refuses the few characters that have a meaning in one of the places
// the path goes to: shells, ssh_config tokens, TOML, YAML and redis.conf strings.
func checkPath(root string) error {
	if root == "/" {
		return errors.New("GITSPLIT_HOME: the root directory cannot be a home")
	}
	bad := func(r rune) bool {
		return !unicode.IsPrint(r) || strings.ContainsRune("'\"\\$%`!", r)
	}
	if !utf8.ValidString(root) || strings.ContainsFunc(root, bad) {
		return fmt.Errorf("GITSPLIT_HOME: the path %q has quotes, backslashes, control characters or one of $ %% ` !; choose another", root)
	}
	return nil
}

// Config returns the path of a generated configuration file.
func (h Home) Config(parts ...string) string { return h.join("config", parts) }

// Secret returns the path of a secret.
func (h Home) Secret(name string) string { return filepath.Join(h.Root, "secrets", name) }

// TLS is the directory where workhorse keeps the authority that it makes for
// HTTPS, and the certificate from it.
func (h Home) TLS() string { return h.Secret("tls") }

// Authority is the file of that authority's certificate, for clients to trust.
func (h Home) Authority() string { return filepath.Join(h.TLS(), "ca.crt") }

// Data returns a path below the directory of lasting data.
func (h Home) Data(parts ...string) string { return h.join("data", parts) }

// Run returns a path below the directory of run-time files that are not sockets.
func (h Home) Run(parts ...string) string { return h.join("run", parts) }

// Log returns the path of the log file of a service.
func (h Home) Log(service string) string { return filepath.Join(h.Root, "log", service+".log") }

// Socket returns the path of a Unix socket.
func (h Home) Socket(name string) string { return filepath.Join(h.Sockets, name) }

func (h Home) join(dir string, parts []string) string {
	return filepath.Join(append([]string{h.Root, dir}, parts...)...)
}
