package refname

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestShort(t *testing.T) {
	t.Parallel()
	hash := strings.Repeat("0123456789", 4)
	for name, want := range map[string]error{
		"main": nil, "feature/x": nil, "ünï": nil, "a.b": nil, "v1.0@2": nil, "-x": ErrInvalid, "HEAD": ErrInvalid, "refs/heads/x": ErrInvalid,
		"": ErrInvalid, "a..b": ErrInvalid, "a b": ErrInvalid, "a~1": ErrInvalid, "x.lock": ErrInvalid, "a/.b": ErrInvalid, "a//b": ErrInvalid,
		"a/": ErrInvalid, "@{": ErrInvalid, "a\\b": ErrInvalid, "a\x7f": ErrInvalid, "end.": ErrInvalid, "a*": ErrInvalid,
		hash: ErrHash, hash + "-x": ErrHash, strings.ToUpper("abcdef" + hash[:34]): ErrHash, hash[:39]: nil, "x" + hash: nil,
		strings.Repeat("a", 2000): ErrInvalid,
	} {
		if got := Short(name); !errors.Is(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}

// FuzzCheck compares our answer with git's own.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{"refs/heads/main", "refs/heads/a..b", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/@{", "refs//x", "refs/heads/\x01", "main", "refs/heads/ü"} {
		f.Add(s)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		f.Skip("no git")
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsRune(name, 0) || len(name) > maxLength || !strings.HasPrefix(name, "refs/") || strings.Count(name, "/") < 1 {
			return
		}
		err := exec.CommandContext(t.Context(), git, "check-ref-format", name).Run()
		if ours := Check(name); (ours == nil) != (err == nil) {
			t.Errorf("%q: ours %v, git %v", name, ours, err)
		}
	})
}
