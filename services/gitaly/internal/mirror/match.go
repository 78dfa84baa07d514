package mirror

import (
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/ref"
)

// Bounds of the patterns of one mirror.
const (
	maxPatterns = 1000
	maxPattern  = 1024 // bytes
)

// Patterns chooses branches by their short names.
type Patterns struct{ branches *regexp.Regexp }

// NewPatterns reads patterns in which * stands for any text; without any, every
// branch is chosen. They are matched in linear time. Too many or too long ones are
// errs.Invalid.
func NewPatterns(patterns [][]byte) (Patterns, error) {
	if len(patterns) > maxPatterns {
		return Patterns{}, errs.New(errs.Invalid, "too many branch patterns")
	}
	alternatives := make([]string, 0, len(patterns))
	for _, p := range patterns {
		if len(p) > maxPattern {
			return Patterns{}, errs.New(errs.Invalid, "a branch pattern is too long")
		}
		parts := strings.Split(string(p), "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		alternatives = append(alternatives, strings.Join(parts, `[\s\S]*`))
	}
	if len(patterns) == 0 {
		return Patterns{}, nil
	}
	compiled, err := regexp.Compile("^(?:" + strings.Join(alternatives, "|") + ")$")
	if err != nil {
		return Patterns{}, errs.Wrap(errs.Invalid, "invalid branch pattern", err)
	}
	return Patterns{compiled}, nil
}

// Match reports whether a reference, by its full name, is chosen. All tags are.
func (p Patterns) Match(name string) bool {
	branch, ok := strings.CutPrefix(name, ref.Branches)
	if !ok {
		return ref.IsTag(name)
	}
	return p.branches == nil || p.branches.MatchString(branch)
}
