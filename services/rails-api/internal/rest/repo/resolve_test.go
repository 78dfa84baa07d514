package repo

import (
	"slices"
	"strings"
	"testing"
)

func TestCandidates(t *testing.T) {
	t.Parallel()
	r := &Repo{defaultBranch: "trunk"}
	id := strings.Repeat("ab", 20)
	cases := []struct {
		ref  string
		want []string
	}{
		{"", []string{"refs/heads/trunk"}},
		{"HEAD", []string{"refs/heads/trunk"}},
		{"main", []string{"refs/heads/main", "refs/tags/main"}},
		{"refs/tags/v1", []string{"refs/tags/v1"}},
		{"refs/merge-requests/1/head", []string{"refs/heads/refs/merge-requests/1/head", "refs/tags/refs/merge-requests/1/head"}},
		{id, []string{id}},
		{strings.ToUpper(id), []string{id}},
		{"abcdef1", []string{"refs/heads/abcdef1", "refs/tags/abcdef1", "abcdef1"}},
		{"a..b", nil},
		{"main^", nil},
		{"main:README", nil},
		{"a b", nil},
		{"@{-1}", nil},
	}
	for _, tc := range cases {
		if got := r.candidates(tc.ref); !slices.Equal(got, tc.want) {
			t.Errorf("%q: got %q, want %q", tc.ref, got, tc.want)
		}
	}
}

func FuzzCandidates(f *testing.F) {
	f.Add("main")
	f.Add("--all")
	f.Add("refs/heads/-x")
	f.Add("0123456789abcdef")
	f.Fuzz(func(t *testing.T, ref string) {
		for _, revision := range (&Repo{defaultBranch: "main"}).candidates(ref) {
			named := strings.HasPrefix(revision, "refs/heads/") || strings.HasPrefix(revision, "refs/tags/")
			if !named && !shortID.MatchString(revision) && !fullID.MatchString(revision) {
				t.Errorf("%q may stand for %q", ref, revision)
			}
			if strings.ContainsAny(revision, " \x00:^~?*[\\") || strings.Contains(revision, "..") || strings.Contains(revision, "@{") {
				t.Errorf("%q may stand for %q", ref, revision)
			}
		}
	})
}
