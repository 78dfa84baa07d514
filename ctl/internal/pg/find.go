package pg

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrMissing says that PostgreSQL is not installed, and what to do.
var ErrMissing = errors.New("PostgreSQL is not installed; run: apt-get install postgresql")

// programDirs is where Debian and Ubuntu put the programs of each major version.
const programDirs = "/usr/lib/postgresql/*/bin"

// find returns the directory of the PostgreSQL programs: those of the wanted major
// version, or with want empty the newest ones.
func find(pattern, want string) (string, error) {
	dirs, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	slices.SortFunc(dirs, func(a, b string) int { return major(b) - major(a) })
	if path, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, dir := range dirs {
		if want != "" && filepath.Base(filepath.Dir(dir)) != want && filepath.Dir(dir) != "/usr" {
			continue
		}
		if complete(dir) {
			return dir, nil
		}
	}
	if want != "" {
		return "", errors.New("the data were made by PostgreSQL " + want + ", which is not installed; run: apt-get install postgresql-" + want)
	}
	return "", ErrMissing
}

func complete(dir string) bool {
	for _, program := range []string{"postgres", "initdb"} {
		if info, err := os.Stat(filepath.Join(dir, program)); err != nil || info.Mode()&0o111 == 0 {
			return false
		}
	}
	return true
}

// major reads the version from …/<major>/bin; 0 if it is not a number.
func major(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	return n
}

// version returns the major version that made the cluster, or "" if there is none.
func version(data string) (string, error) {
	text, err := os.ReadFile(filepath.Join(data, "PG_VERSION")) //nolint:gosec // a file of our cluster
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}
