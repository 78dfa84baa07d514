package gitcmd

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// firstFile is the descriptor of the first of Spec.Files.
const firstFile = 3

// hideSecrets moves the secret settings into a file that has no name and lives in
// memory alone. git and its children inherit it and are told its descriptor
// (security-baseline.md T6). The caller closes the file when git has started.
func (s *Spec) hideSecrets() (_ *os.File, err error) {
	var text strings.Builder
	for _, kv := range s.Secrets {
		section, key, ok := strings.Cut(kv.Key, ".")
		if !ok || !configKey.MatchString(kv.Key) || strings.Contains(key, ".") || strings.ContainsAny(kv.Value, "\x00\r\n") {
			return nil, errors.New("a secret setting is malformed")
		}
		fmt.Fprintf(&text, "[%s]\n\t%s = \"%s\"\n", section, key, quoteValue.Replace(kv.Value))
	}
	fd, err := unix.MemfdCreate("git-config", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("hide secret settings: %w", err)
	}
	file := os.NewFile(uintptr(fd), "git-config")
	if _, err := file.WriteString(text.String()); err != nil {
		return nil, errors.Join(fmt.Errorf("hide secret settings: %w", err), file.Close())
	}
	s.Files = append(slices.Clone(s.Files), file)
	path := fmt.Sprintf("/proc/self/fd/%d", firstFile+len(s.Files)-1)
	s.Config = append(slices.Clone(s.Config), Config{"include.path", path})
	return file, nil
}

var quoteValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
