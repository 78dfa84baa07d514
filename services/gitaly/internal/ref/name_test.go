package ref_test

import (
	"os/exec"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/ref"
)

var names = []string{
	"refs/heads/main", "refs/heads/a/b", "refs/tags/v1.0", "refs/heads/ä", "refs/heads/\xff", "refs/x", "refs/heads/-x", "refs/heads/@",
	"", "refs", "refs/", "main", "HEAD", "refs/heads/", "refs//x", "refs/heads/.x", "refs/heads/x.lock", "refs/heads/x.lock/y", "refs/heads/x.",
	"refs/heads/a..b", "refs/heads/a@{b", "refs/heads/a b", "refs/heads/a~b", "refs/heads/a^b", "refs/heads/a:b", "refs/heads/a?b",
	"refs/heads/a*b", "refs/heads/a[b", "refs/heads/a\\b", "refs/heads/a\x7f", "refs/heads/a\nb", "refs/heads/a/", "/refs/heads/x",
}

// TestValid compares the rules with git's own answer (security-baseline.md X4).
func TestValid(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		err := exec.CommandContext(t.Context(), "git", "check-ref-format", name).Run()
		if want := err == nil && strings.HasPrefix(name, "refs/"); ref.Valid(name) != want {
			t.Errorf("Valid(%q) = %v, git says %v", name, ref.Valid(name), err)
		}
	}
}

func TestValidShort(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"main": true, "feature/x": true, "-x": false, "HEAD": false, "refs/heads/x": false, "": false, "a..b": false,
		strings.Repeat("a", 40): false, strings.Repeat("a", 41): true, strings.Repeat("0", 64): false,
	} {
		if got := ref.ValidShort(name); got != want {
			t.Errorf("ValidShort(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestCheckRevision(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"main", "refs/heads/x", "HEAD~3^2", strings.Repeat("a", 40), "v1..v2", "main^{commit}"} {
		if err := ref.CheckRevision(good); err != nil {
			t.Errorf("CheckRevision(%q) = %v", good, err)
		}
	}
	for _, bad := range []string{"", "-x", "--output=x", "a b", "a\nb", "a\tb", "a\x00", "HEAD:x", `a\b`, strings.Repeat("x", 2000)} {
		if err := ref.CheckRevision(bad); errs.KindOf(err) != errs.Invalid || err == nil {
			t.Errorf("CheckRevision(%q) = %v", bad, err)
		}
	}
}

func FuzzValid(f *testing.F) {
	for _, n := range names {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if strings.ContainsRune(name, 0) {
			if ref.Valid(name) {
				t.Errorf("Valid(%q)", name)
			}
			return // no such argument
		}
		if ref.Valid(name) && exec.CommandContext(t.Context(), "git", "check-ref-format", name).Run() != nil {
			t.Errorf("Valid(%q), but git refuses it", name)
		}
	})
}

func FuzzCheckRevision(f *testing.F) {
	for _, r := range []string{"main", "HEAD~3^2", "-x", "--all", "a b", "a\x00", "HEAD:x", `a\b`, "^main", "a..b", "@{u}", "main^{/x}"} {
		f.Add(r)
	}
	f.Fuzz(func(t *testing.T, revision string) {
		if ref.CheckRevision(revision) != nil {
			return
		}
		if strings.HasPrefix(revision, "-") || len(strings.Fields(revision)) != 1 || strings.ContainsAny(revision, "\x00\n:\\") {
			t.Errorf("CheckRevision(%q) lets it pass", revision)
		}
	})
}
