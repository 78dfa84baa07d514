// Package conflict reads files with git's conflict markers, and makes the file out of
// them that a person has decided for. Markers carry the ids of the two commits, as
// git merge-tree writes them; people see the paths of the file instead.
package conflict

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
)

// MaxSize is the largest file whose conflicts are resolved section by section, in
// bytes: web pages show no larger ones.
const MaxSize = 200 << 10

// Failures of a file that cannot be resolved by sections.
var (
	ErrUnmergeable = errors.New("merging is not supported for file")
	ErrDelimiter   = errors.New("unexpected conflict delimiter")
	ErrNoEnd       = errors.New("missing last delimiter")
)

// Unresolved is a decision that does not fit. Its text is for the person who decided.
type Unresolved struct{ Text string }

// Error returns the text.
func (u *Unresolved) Error() string { return u.Text }

// Markers know how conflicts look in a file.
type Markers struct{ begin, end string }

const middle = "======="

// Between returns the markers of a merge of two commits. The paths follow if the file
// has two.
func Between(ours, theirs, ourPath, theirPath string) Markers {
	m := Markers{"<<<<<<< " + ours, ">>>>>>> " + theirs}
	if ourPath != theirPath {
		m.begin, m.end = m.begin+":"+ourPath, m.end+":"+theirPath
	}
	return m
}

// Show replaces the ids of the two commits in markers by paths.
func Show(content []byte, ours, theirs, ourPath, theirPath string) []byte {
	var out bytes.Buffer
	for line := range bytes.SplitAfterSeq(content, []byte("\n")) {
		for prefix, path := range map[string]string{"<<<<<<< " + ours: ourPath, ">>>>>>> " + theirs: theirPath} {
			if rest, ok := bytes.CutPrefix(line, []byte(prefix)); ok {
				line = append([]byte(prefix[:8]+path), rest...)
			}
		}
		out.Write(line)
	}
	return out.Bytes()
}

// Choices says for each section, by its id, whose lines to take.
type Choices map[string]string

// The two sides.
const (
	Head   = "head"   // ours
	Origin = "origin" // theirs
)

// side is where a line of the file comes from.
type side int

const (
	both side = iota
	ourSide
	theirSide
)

type line struct {
	text string // with its end
	side side
	// Numbers of the line as web pages show it: in the file as it is with all of
	// their lines, and with all of ours.
	old, new int
}

// Resolve takes the lines of one side for each section. path is what the ids of
// sections are made of; endsOpen says that our file has no line break at its end, for
// git adds one before a marker. What does not fit is *Unresolved.
func (m Markers) Resolve(content []byte, path string, choices Choices, endsOpen bool) ([]byte, error) {
	lines, err := m.parse(content)
	if err != nil {
		return nil, fmt.Errorf("resolve: parse conflict for %q: %w", path, err)
	}
	var out strings.Builder
	section := ""
	for _, l := range lines {
		if l.side == both {
			section = ""
			out.WriteString(l.text)
			continue
		}
		if section == "" {
			section = fmt.Sprintf("%x_%d_%d", sha1.Sum([]byte(path)), l.old, l.new)
		}
		want, ok := map[string]side{Head: ourSide, Origin: theirSide}[choices[section]]
		if !ok {
			return nil, &Unresolved{"Missing resolution for section ID: " + section}
		}
		if want == l.side {
			out.WriteString(l.text)
		}
	}
	text := out.String()
	if endsOpen {
		text = strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r")
	}
	return []byte(text), nil
}

func (m Markers) parse(content []byte) ([]line, error) {
	if len(content) == 0 || len(content) > MaxSize {
		return nil, ErrUnmergeable
	}
	var lines []line
	now, from, to := both, 1, 1
	for text := range strings.SplitAfterSeq(string(content), "\n") {
		next, wanted := both, side(-1)
		switch strings.TrimSuffix(strings.TrimSuffix(text, "\n"), "\r") {
		case m.begin:
			next, wanted = ourSide, both
		case middle:
			next, wanted = theirSide, ourSide
		case m.end:
			next, wanted = both, theirSide
		}
		switch {
		case wanted == now:
			now = next
			continue
		case wanted >= 0:
			return nil, ErrDelimiter
		case text == "":
			continue
		}
		lines = append(lines, line{text, now, from, to})
		if now != ourSide {
			from++
		}
		if now != theirSide {
			to++
		}
	}
	if now != both {
		return nil, ErrNoEnd
	}
	return lines, nil
}
