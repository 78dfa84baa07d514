package remote

import (
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/ref"
)

// CheckRefspec accepts "[+]source:target" and "^source" with full reference names,
// in which one * may stand for any text.
func CheckRefspec(spec string) error {
	bad := errs.New(errs.Invalid, "invalid refspec")
	if source, ok := strings.CutPrefix(spec, "^"); ok {
		if !validPattern(source) {
			return bad
		}
		return nil
	}
	source, target, ok := strings.Cut(strings.TrimPrefix(spec, "+"), ":")
	if !ok || !validPattern(source) || !validPattern(target) || strings.Count(source, "*") != strings.Count(target, "*") {
		return bad
	}
	return nil
}

// validPattern reports whether name is a full reference name with at most one *.
func validPattern(name string) bool {
	return strings.Count(name, "*") <= 1 && ref.Valid(strings.Replace(name, "*", "x", 1))
}
