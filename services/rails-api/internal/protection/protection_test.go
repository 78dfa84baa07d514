package protection_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/postgres"
	"gitsplit/services/rails-api/internal/protection"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		pattern, branch string
		want            bool
	}{
		{"main", "main", true}, {"main", "Main", false}, {"main", "main2", false},
		{"*", "anything/at/all", true}, {"*", "", true}, {"stable-*", "stable-", true}, {"stable-*", "stable-1/x", true}, {"stable-*", "unstable-1", false},
		{"*-stable", "1-stable", true}, {"*-stable", "-stable", true}, {"*-stable", "stable", false}, {"a*b*c", "abc", true}, {"a*b*c", "aXbYc", true},
		{"a*b*c", "acb", false}, {"a*a", "a", false}, {"a*a", "aa", true}, {"**", "x", true}, {"a**b", "ab", true}, {"*ab*ab*", "xabyab", true}, {"*ab*ab*", "xab", false},
		{"a.c", "abc", false}, {"[ab]*", "a1", false}, {"[ab]*", "[ab]1", true},
	} {
		if got := protection.Match(tc.pattern, tc.branch); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.pattern, tc.branch, got)
		}
	}
}

// TestMatch_hostile: a pattern that takes backtracking matchers for ever.
func TestMatch_hostile(t *testing.T) {
	t.Parallel()
	started := time.Now()
	protection.Match(strings.Repeat("a*", 120)+"b", strings.Repeat("a", 1000))
	if took := time.Since(started); took > time.Second {
		t.Errorf("took %v", took)
	}
}

func FuzzMatch(f *testing.F) {
	for _, s := range []string{"main", "*", "a*b", "*-x*", "a**b"} {
		f.Add(s, "main")
	}
	f.Fuzz(func(t *testing.T, pattern, branch string) {
		if len(pattern) > 64 || len(branch) > 64 || strings.ToValidUTF8(pattern, "") != pattern || strings.ToValidUTF8(branch, "") != branch {
			return
		}
		re := regexp.MustCompile(`(?s)\A` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + `\z`)
		if got := protection.Match(pattern, branch); got != re.MatchString(branch) {
			t.Errorf("Match(%q, %q) = %v", pattern, branch, got)
		}
	})
}

func TestStore(t *testing.T) {
	t.Parallel()
	b := railstest.New(t)
	p := b.Project(b.User("ada").NamespaceID, "p", visibility.Private)
	s, ctx := protection.New(b.DB), t.Context()
	made, err := s.Create(ctx, protection.Rule{ProjectID: p.ID, Name: "main", PushLevel: 40, MergeLevel: 30})
	b.Must(err)
	for name, tc := range map[string]struct {
		rule protection.Rule
		want errs.Kind
	}{
		"twice":         {protection.Rule{ProjectID: p.ID, Name: "main", PushLevel: 40, MergeLevel: 40}, errs.Exists},
		"bad level":     {protection.Rule{ProjectID: p.ID, Name: "x", PushLevel: 20, MergeLevel: 40}, errs.Invalid},
		"blank":         {protection.Rule{ProjectID: p.ID, Name: " ", PushLevel: 40, MergeLevel: 40}, errs.Invalid},
		"long":          {protection.Rule{ProjectID: p.ID, Name: strings.Repeat("x", 1025), PushLevel: 40, MergeLevel: 40}, errs.Invalid},
		"other project": {protection.Rule{ProjectID: 99, Name: "main", PushLevel: 40, MergeLevel: 40}, errs.NotFound},
	} {
		if _, err := s.Create(ctx, tc.rule); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	made.AllowForcePush = true
	if got, err := s.Update(ctx, made); err != nil || got != made {
		t.Errorf("update: %+v, %v", got, err)
	}
	if got, err := s.Get(ctx, p.ID, "main"); err != nil || got != made {
		t.Errorf("get: %+v, %v", got, err)
	}
	if list, total, err := s.List(ctx, p.ID, "AI", postgres.Page{}); err != nil || total != 1 || list[0] != made {
		t.Errorf("list: %+v, %d, %v", list, total, err)
	}
	b.Must(s.Delete(ctx, p.ID, "main"))
	if err := s.Delete(ctx, p.ID, "main"); errs.KindOf(err) != errs.NotFound {
		t.Errorf("delete twice: %v", err)
	}
}
