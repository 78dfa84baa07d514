// Package search finds files of a revision by name and lines by content. Expressions
// are matched in linear time (security-baseline.md V8), and nothing is held but what
// surrounds the present line.
package search

import (
	"bytes"
	"errors"
	"regexp"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/object"
)

// maxExpression is the longest expression that is accepted, in bytes.
const maxExpression = 1000

// Compile reads an expression; what names it in the error.
func Compile(what, expr string) (*regexp.Regexp, error) {
	if len(expr) > maxExpression {
		return nil, errs.Newf(errs.Invalid, "%s exceeds maximum length", what)
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, errs.Newf(errs.Invalid, "%s did not compile: %v", what, err)
	}
	return re, nil
}

// Names is a search for files by name.
type Names struct {
	Revision string
	Path     string         // the file, or the directory to search below
	Filter   *regexp.Regexp // of the whole path; nil takes all
	Offset   uint64         // results to pass over
	Limit    uint64         // 0 is no limit
}

var errEnough = errors.New("enough results")

// Find calls each with the path of every file that is found, submodules included, in
// git's order. A revision or path that is not there has no files.
func (n Names) Find(objects *object.Reader, each func(path string) error) error {
	clean, err := object.CleanPath(n.Path)
	if err != nil {
		return err
	}
	var seen uint64
	found := func(e object.Entry) error {
		if e.Type() == "tree" || n.Filter != nil && !n.Filter.MatchString(e.Path) {
			return nil
		}
		if n.Limit > 0 && seen == n.Offset+n.Limit {
			return errEnough
		}
		if seen++; seen <= n.Offset {
			return nil
		}
		return each(e.Path)
	}
	err = walk(objects, n.Revision, clean, found)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// walk calls each for what is at a path of a revision and below, or for nothing.
func walk(objects *object.Reader, revision, clean string, each func(object.Entry) error) error {
	root, err := objects.RootTree(revision)
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	entry, err := objects.Find(root, clean)
	if errs.KindOf(err) == errs.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	if entry.Type() != "tree" {
		return each(entry)
	}
	return objects.Walk(entry, each)
}

// matcher returns what tells whether a line contains the query, upper and lower case
// alike. A query without any special character, which most are, needs no expression.
func matcher(query string) (func(line []byte) bool, error) {
	re, err := Compile("query", "(?i)"+query)
	if err != nil {
		return nil, err
	}
	if regexp.QuoteMeta(query) != query || !ascii(query) {
		return re.Match, nil
	}
	lower := bytes.ToLower([]byte(query))
	return func(line []byte) bool { return containsFold(line, lower) }, nil
}

func ascii(s string) bool {
	for _, c := range []byte(s) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// containsFold reports whether line contains the lower-case ASCII text in any case.
func containsFold(line, lower []byte) bool {
	for i := range len(line) - len(lower) + 1 {
		if fold(line[i]) == lower[0] && equalFold(line[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

func equalFold(text, lower []byte) bool {
	for i, c := range text {
		if fold(c) != lower[i] {
			return false
		}
	}
	return true
}

func fold(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
