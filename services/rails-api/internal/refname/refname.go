// Package refname checks the names of git references as git check-ref-format
// does, and the stricter rules for the names of branches and tags
// (security-baseline V2). Names are always full: `refs/heads/main`.
package refname

import (
	"errors"
	"strings"
)

// Prefixes of the two kinds of references people know.
const (
	Heads = "refs/heads/"
	Tags  = "refs/tags/"
)

// Faults of a name.
var (
	ErrInvalid = errors.New("not a valid reference name")
	ErrHash    = errors.New("looks like an object id")
)

// maxLength is the longest full name in bytes; longer ones do not fit into files.
const maxLength = 1024

// Check reports whether git accepts the full name of a reference.
func Check(full string) error {
	if len(full) > maxLength || !strings.HasPrefix(full, "refs/") || strings.HasSuffix(full, ".") ||
		strings.Contains(full, "..") || strings.Contains(full, "@{") || strings.ContainsFunc(full, forbidden) {
		return ErrInvalid
	}
	for part := range strings.SplitSeq(full, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return ErrInvalid
		}
	}
	return nil
}

// Short checks the name of a branch or a tag below its prefix. Names that begin
// with a whole object id give ErrHash, other bad ones ErrInvalid.
func Short(name string) error {
	switch {
	case strings.HasPrefix(name, "-"), name == "HEAD", strings.HasPrefix(name, "refs/"), Check(Heads+name) != nil:
		return ErrInvalid
	case LikeHash(name):
		return ErrHash
	}
	return nil
}

// LikeHash reports whether a name begins with the digits of a whole SHA-1.
// SHA-256 ids begin with 40 hexadecimal digits too.
func LikeHash(name string) bool {
	const sha1Digits = 40
	if len(name) < sha1Digits {
		return false
	}
	return !strings.ContainsFunc(name[:sha1Digits], func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f' || 'A' <= r && r <= 'F')
	})
}

func forbidden(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune(" ~^:?*[\\", r) }
