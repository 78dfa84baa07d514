package access

import (
	"errors"
	"strings"

	"gitsplit/kit/errs"
)

// Change is one reference that a push moves, from one object to another. An id of
// zeros stands for a reference that does not exist.
type Change struct {
	Old, New string
	Ref      string // full name
}

// Creates reports whether the reference is new.
func (c Change) Creates() bool { return blank(c.Old) }

// Deletes reports whether the reference goes away.
func (c Change) Deletes() bool { return blank(c.New) }

func blank(id string) bool { return strings.Trim(id, "0") == "" }

// MaxChanges is how many references one push may move (security-baseline §12).
const MaxChanges = 200_000

var errChanges = errors.New("malformed list of changes")

// ParseChanges reads the lines git gives to its hooks: `<old> <new> <ref>`, ids of
// 40 or 64 lower-case hexadecimal digits. Anything else is errs.Invalid.
func ParseChanges(text string) ([]Change, error) {
	text = strings.TrimRight(text, "\n")
	if text == "" {
		return nil, nil
	}
	changes := make([]Change, 0, min(strings.Count(text, "\n")+1, MaxChanges))
	for line := range strings.SplitSeq(text, "\n") {
		old, rest, _ := strings.Cut(line, " ")
		id, ref, ok := strings.Cut(rest, " ")
		if !ok || !objectID(old) || !objectID(id) || len(old) != len(id) || ref == "" || len(changes) == MaxChanges {
			return nil, errs.Wrap(errs.Invalid, "400 Bad request - malformed changes", errChanges)
		}
		changes = append(changes, Change{Old: old, New: id, Ref: ref})
	}
	return changes, nil
}

func objectID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return !('0' <= r && r <= '9' || 'a' <= r && r <= 'f') }) < 0
}
