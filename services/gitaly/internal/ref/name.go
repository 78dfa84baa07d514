// Package ref reads and moves references. Names are always full ("refs/heads/x");
// what a caller says is checked here before git sees it.
package ref

import (
	"strings"

	"gitsplit/kit/errs"
)

// Namespaces.
const (
	Branches = "refs/heads/"
	Tags     = "refs/tags/"
	Remotes  = "refs/remotes/"
)

// maxName is the longest name that is accepted, in bytes.
const maxName = 1024

// Valid reports whether a full reference name passes the rules of git
// check-ref-format (security-baseline.md V2): it begins with "refs/" and has at
// least one more component.
func Valid(name string) bool {
	rest, ok := strings.CutPrefix(name, "refs/")
	if !ok || len(name) > maxName || strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.HasSuffix(name, ".") {
		return false
	}
	for component := range strings.SplitSeq(rest, "/") {
		if component == "" || component[0] == '.' || strings.HasSuffix(component, ".lock") || len(component) > 255 {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r < 0x20 || r == 0x7f || strings.ContainsRune(" ~^:?*[\\", r)
	})
}

// IsTag reports whether a full name is that of a tag.
func IsTag(name string) bool { return strings.HasPrefix(name, Tags) }

// ValidShort reports whether a branch or tag may be created under a short name:
// besides git's rules it must not look like an option, a full name, HEAD or an
// object id.
func ValidShort(short string) bool {
	return Valid(Branches+short) && short[0] != '-' && short != "HEAD" && !strings.HasPrefix(short, "refs/") && !ValidOID(short)
}

// ValidOID reports whether s is a full object id: 40 or 64 lower-case hex digits.
func ValidOID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ZeroOID returns the id that stands for "no object" beside ids like the given.
func ZeroOID(like string) string { return strings.Repeat("0", len(like)) }

// CheckRevision refuses what must not reach git as a revision
// (security-baseline.md V4): an empty one, options, white space, and paths inside
// of revisions.
func CheckRevision(revision string) error {
	switch {
	case revision == "":
		return errs.New(errs.Invalid, "empty revision")
	case revision[0] == '-':
		return errs.New(errs.Invalid, "revision can't start with '-'")
	case strings.ContainsAny(revision, " \t\n\v\f\r"):
		return errs.New(errs.Invalid, "revision can't contain whitespace")
	case strings.ContainsRune(revision, 0):
		return errs.New(errs.Invalid, "revision can't contain NUL")
	case strings.ContainsAny(revision, ":"):
		return errs.New(errs.Invalid, "revision can't contain ':'")
	case strings.Contains(revision, `\`):
		return errs.New(errs.Invalid, `revision can't contain '\'`)
	case len(revision) > maxName:
		return errs.New(errs.Invalid, "revision is too long")
	}
	return nil
}
