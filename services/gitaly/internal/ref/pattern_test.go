package ref //nolint:testpackage // patterns have no door of their own

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// patternNames are references of TestPattern's repository.
var patternNames = []string{
	"refs/heads/a", "refs/heads/a-b", "refs/heads/ab", "refs/heads/b/a", "refs/heads/b/c/d", "refs/heads/main", "refs/heads/X1", "refs/heads/x2",
	"refs/heads/it's", "refs/heads/a.b", "refs/heads/\xff\xfe", "refs/tags/a", "refs/tags/v1.0", "refs/remotes/o/a",
}

// TestPattern compares our matching with git's.
func TestPattern(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	git := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", dir}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("git %q: %v", args, err)
		}
		return string(out)
	}
	git("", "init", "-q", "--bare")
	blob := strings.TrimSpace(git("x", "hash-object", "-w", "--stdin"))
	commit := strings.TrimSpace(git("tree "+strings.TrimSpace(git("", "mktree"))+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n", "hash-object", "-t", "commit", "-w", "--stdin"))
	var updates strings.Builder
	for _, name := range patternNames {
		target := blob
		if strings.HasPrefix(name, Branches) {
			target = commit
		}
		updates.WriteString("create " + name + " " + target + "\n")
	}
	git(updates.String(), "update-ref", "--stdin")
	for _, text := range []string{
		"refs/heads", "refs/heads/", "refs/heads/a", "refs/heads/b", "refs/heads/b/", "refs/heads/m", "refs/heads/*", "refs/*/a", "refs/**/a", "**/a", "refs/heads/**",
		"refs/heads/?", "refs/heads/??", "refs/heads/[ab]", "refs/heads/[!a]", "refs/heads/[^a]*", "refs/heads/[a-m]*", "refs/heads/x[0-9]", `refs/heads/\a`,
		"*", "**", "refs/heads/it's", "refs/heads/a*b", "refs/heads/a?b", "refs/heads/[", "refs/heads/a[", "refs/heads/[]a]", "refs/heads/b/**/d", "refs/**", "a", "heads/a",
		"refs/heads/\xff\xfe", "refs/heads/x", "refs/heads/X*", "refs/heads/a.b", "refs/heads/***", "refs/heads/b**d",
	} {
		for _, fold := range []bool{false, true} {
			args := []string{"for-each-ref", "--format=%(refname)"}
			if fold {
				args = append(args, "--ignore-case")
			}
			want := strings.Split(strings.TrimSuffix(git("", append(args, "--end-of-options", text)...), "\n"), "\n")
			p, err := compile(text, fold)
			if err != nil {
				t.Errorf("%q: %v", text, err)
				continue
			}
			got := slices.DeleteFunc(slices.Clone(patternNames), func(name string) bool { return !p.match(name) })
			slices.Sort(got)
			if len(got) == 0 {
				got = []string{""}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q, ignoring case %v (-git +ours):\n%s", text, fold, diff)
			}
		}
	}
	for _, bad := range []string{"", "-x", "a\x00", "a\nb", strings.Repeat("a", 2000), "\xff*"} {
		if _, err := compile(bad, false); err == nil {
			t.Errorf("compile(%q) succeeds", bad)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, text := range []string{"refs/heads/*", "[", "[]", "[!", "[!]", "[a-", `\`, "**/x", "[[:alpha:]]", "[^/]", "[z-a]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := compile(text, false); err == nil && Valid(text) && !p.match(text) {
			t.Errorf("%q does not match itself", text)
		}
	})
}
