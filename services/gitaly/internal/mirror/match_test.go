package mirror

import (
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		patterns string // separated by blanks
		name     string
		want     bool
	}{
		{"", "refs/heads/main", true}, {"", "refs/tags/v1", true}, {"", "refs/keep-around/x", false},
		{"main", "refs/heads/main", true}, {"main", "refs/heads/mainly", false}, {"main", "refs/heads/x/main", false},
		{"main", "refs/tags/any", true}, {"release/*", "refs/heads/release/1/2", true}, {"release/*", "refs/heads/release", false},
		{"a b*", "refs/heads/bcd", true}, {"*", "refs/heads/x/y", true}, {"a.c", "refs/heads/abc", false}, {"(a|b)", "refs/heads/a", false},
		{"a*b*c", "refs/heads/axxbyyc", true}, {"a*b*c", "refs/heads/axxcyyb", false}, {"\xff*", "refs/heads/\xffx", false},
	} {
		var list [][]byte
		for p := range strings.FieldsSeq(tc.patterns) {
			list = append(list, []byte(p))
		}
		p, err := NewPatterns(list)
		if err != nil {
			if !strings.Contains(tc.patterns, "\xff") {
				t.Errorf("%q: %v", tc.patterns, err)
			}
			continue
		}
		if got := p.Match(tc.name); got != tc.want {
			t.Errorf("%q matches %q: %v", tc.patterns, tc.name, got)
		}
	}
}
