package command

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// ErrSyntax is the error for a command line that cannot be split into words.
// Its text is shown to the user.
var ErrSyntax = errors.New("invalid command line string")

// maxLine bounds a command line; the longest honest one is a verb and a path.
const maxLine = 16 << 10

// splitter is the state of splitting one line.
type splitter struct {
	words   []string
	word    strings.Builder
	inWord  bool // a word has begun, even if it is still empty ('')
	escaped bool // the previous character was a backslash
	quote   rune // the open quote, or 0
}

// split cuts a line into words as the documented grammar says
// (wire/gitlab-shell.md §3.2): blanks separate, quotes and backslashes protect,
// nothing is expanded. What follows an unprotected ; & | < > is dropped.
func split(line string) ([]string, error) {
	if len(line) > maxLine || !utf8.ValidString(line) {
		return nil, ErrSyntax
	}
	var s splitter
	for _, r := range line {
		end, err := s.next(r)
		if err != nil {
			return nil, err
		}
		if end {
			break
		}
	}
	if s.escaped || s.quote != 0 {
		return nil, ErrSyntax
	}
	s.flush()
	return s.words, nil
}

// next takes one character; it reports whether the line ends here.
func (s *splitter) next(r rune) (end bool, err error) {
	switch {
	case s.escaped:
		s.escaped = false
		s.add(unescape(r))
	case r == '\\' && s.quote != '\'':
		s.escaped = true
	case s.quote != 0:
		if r == s.quote {
			s.quote = 0
		} else {
			s.add(r)
		}
	case r == '\'' || r == '"':
		s.quote, s.inWord = r, true
	case strings.ContainsRune(" \t\r\n", r):
		s.flush()
	case r == '(' || r == ')':
		return true, ErrSyntax
	case strings.ContainsRune(";&|<>", r):
		return true, nil
	default:
		s.add(r)
	}
	return false, nil
}

func (s *splitter) add(r rune) {
	s.word.WriteRune(r)
	s.inWord = true
}

func (s *splitter) flush() {
	if s.inWord {
		s.words = append(s.words, s.word.String())
		s.word.Reset()
		s.inWord = false
	}
}

func unescape(r rune) rune {
	switch r {
	case 't':
		return '\t'
	case 'n':
		return '\n'
	default:
		return r
	}
}
