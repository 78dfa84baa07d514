package pathrule

import (
	"errors"
	"strings"
	"testing"
)

func TestNamespaceAndProject(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		path               string
		top, sub, projects error
	}{
		{"team", nil, nil, nil},
		{"Team_1.x-y", nil, nil, nil},
		{"", ErrBlank, ErrBlank, ErrBlank},
		{strings.Repeat("a", 255), nil, nil, nil},
		{strings.Repeat("a", 256), ErrLength, ErrLength, ErrLength},
		{"-dash", ErrCharacters, ErrCharacters, ErrCharacters},
		{".dot", ErrCharacters, ErrCharacters, ErrCharacters},
		{"end.", ErrCharacters, ErrCharacters, ErrCharacters},
		{"x.git", ErrCharacters, ErrCharacters, ErrCharacters},
		{"x.GIT", ErrCharacters, ErrCharacters, ErrCharacters},
		{"x.lock", ErrCharacters, ErrCharacters, ErrCharacters},
		{"x.wiki", ErrCharacters, ErrCharacters, ErrCharacters},
		{"a/b", ErrCharacters, ErrCharacters, ErrCharacters},
		{"a b", ErrCharacters, ErrCharacters, ErrCharacters},
		{"a%", ErrCharacters, ErrCharacters, ErrCharacters},
		{"naïve", ErrCharacters, ErrCharacters, ErrCharacters},
		{"a\x00", ErrCharacters, ErrCharacters, ErrCharacters},
		{"a\xff", ErrCharacters, ErrCharacters, ErrCharacters},
		{"API", ErrReserved, nil, nil},
		{"tree", nil, nil, ErrReserved},
		{"files", ErrReserved, nil, ErrReserved},
	} {
		for name, got := range map[string][2]error{
			"top namespace": {Namespace(tc.path, true), tc.top},
			"sub namespace": {Namespace(tc.path, false), tc.sub},
			"project":       {Project(tc.path), tc.projects},
		} {
			if !errors.Is(got[0], got[1]) {
				t.Errorf("%s %q: %v, want %v", name, tc.path, got[0], got[1])
			}
		}
	}
}

func TestName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]error{
		"Ada Lovelace": nil, "Å 日本": nil, "": ErrBlank, "  ": ErrBlank, "a\nb": ErrName, "a\x1b[0m": ErrName, "a\xff": ErrName,
		strings.Repeat("ab", 128): ErrLength,
	} {
		if got := Name(name); !errors.Is(got, want) {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
}
