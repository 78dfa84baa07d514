package gitcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFactory_secrets runs a git that prints all it can see, and the real one that
// reads the settings.
func TestFactory_secrets(t *testing.T) {
	t.Parallel()
	spy := filepath.Join(t.TempDir(), "git")
	script := "#!/bin/sh\n[ \"$1\" = version ] || [ $# -lt 9 ] && { echo git version 2.39.0; exit; }\nprintf '%s\\n' \"$@\"\nenv\n"
	script += "for a in \"$@\"; do case $a in include.path=*) echo file; cat \"${a#include.path=}\";; esac; done\n"
	if err := os.WriteFile(spy, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	f := &Factory{o: Options{Path: spy, SearchPath: os.Getenv("PATH"), Home: t.TempDir()}}
	const secret = `Authorization: Basic a"b\c;#`
	out, err := f.Output(t.Context(), nil, Spec{Name: "ls-remote", Args: []string{"https://example.com/"},
		Secrets: []Config{{"http.extraHeader", secret}}}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	seen, file, found := strings.Cut(string(out), "\nfile\n")
	if !found || strings.Contains(seen, "Basic") || file != "[http]\n\textraHeader = \"Authorization: Basic a\\\"b\\\\c;#\"\n" {
		t.Errorf("arguments and environment:\n%s\nfile:\n%s", seen, file)
	}
	for _, bad := range []Config{{"http.extraHeader", "a\nb"}, {"http.extraHeader", "a\x00b"}, {"extraHeader", "a"}, {"http.x.y", "a"}, {"http.a]b", "a"}} {
		if err := f.Run(t.Context(), nil, Spec{Name: "ls-remote", Secrets: []Config{bad}}); err == nil || err.Error() != "git ls-remote: a secret setting is malformed" {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
