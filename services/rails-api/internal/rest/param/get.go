package param

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxList bounds the number of elements of a list parameter.
const maxList = 1000

// String returns the text of a parameter, "" when it is not given.
func (s *Set) String(name string) string {
	v := s.lookup(name)
	if v == nil {
		return ""
	}
	t, ok := text(v)
	if !ok {
		s.Fault(name, "is invalid")
		return ""
	}
	return t
}

// Text returns the text of a parameter that may be cleared: nil when it is not given, otherwise its value, which may be empty.
func (s *Set) Text(name string) *string {
	if !s.Given(name) {
		return nil
	}
	t := s.String(name)
	return &t
}

// Enum returns the text of a parameter that has to be one of the allowed values; def when it is not given.
func (s *Set) Enum(name, def string, allowed ...string) string {
	v := s.String(name)
	if v == "" {
		return def
	}
	if !slices.Contains(allowed, v) {
		s.Fault(name, "does not have a valid value")
		return def
	}
	return v
}

// Int returns a whole number, def when it is not given.
func (s *Set) Int(name string, def int64) int64 {
	v := s.String(name)
	if v == "" {
		return def
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		s.Fault(name, "is invalid")
		return def
	}
	return n
}

// OptionalInt returns a whole number, nil when it is not given.
func (s *Set) OptionalInt(name string) *int64 {
	if s.lookup(name) == nil {
		return nil
	}
	n := s.Int(name, 0)
	return &n
}

// OneOf returns a number that has to be one of the allowed ones; def when it is not given.
func (s *Set) OneOf(name string, def int, allowed ...int) int {
	n := s.Int(name, int64(def))
	for _, a := range allowed {
		if n == int64(a) {
			return a
		}
	}
	if s.lookup(name) != nil {
		s.Fault(name, "does not have a valid value")
	}
	return def
}

// Bool returns a truth value, nil when it is not given. Forms write it as 1, t, true, yes or on and their opposites.
func (s *Set) Bool(name string) *bool {
	v := s.String(name)
	if v == "" {
		return nil
	}
	var b bool
	switch strings.ToLower(v) {
	case "true", "t", "1", "yes", "y", "on":
		b = true
	case "false", "f", "0", "no", "n", "off":
	default:
		s.Fault(name, "is invalid")
		return nil
	}
	return &b
}

// Flag returns a truth value that is false unless it is given as true.
func (s *Set) Flag(name string) bool {
	b := s.Bool(name)
	return b != nil && *b
}

// Date returns a day, nil when it is not given. A time stamp is accepted and cut to its day.
func (s *Set) Date(name string) *time.Time {
	t := s.Time(name)
	if t == nil {
		return nil
	}
	day := t.UTC().Truncate(24 * time.Hour)
	return &day
}

// Time returns a moment, nil when it is not given: RFC 3339, or a day, meaning its beginning in UTC.
func (s *Set) Time(name string) *time.Time {
	v := s.String(name)
	if v == "" {
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, v); err == nil && t.Year() >= 1 {
			return &t
		}
	}
	s.Fault(name, "is invalid")
	return nil
}

// Strings returns a list of texts: name[]=a&name[]=b, a JSON array, or one text with commas. Empty elements are left out.
func (s *Set) Strings(name string) []string {
	var list []string
	switch v := s.lookup(name).(type) {
	case nil:
		return nil
	case []any:
		for _, e := range v {
			if e == nil {
				continue
			}
			t, ok := text(e)
			if !ok {
				s.Fault(name, "is invalid")
				return nil
			}
			list = append(list, t)
		}
	default:
		list = strings.Split(s.String(name), ",")
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	if len(out) > maxList {
		s.Fault(name, "is too long")
		return nil
	}
	return out
}

// IDs returns a list of positive numbers, given like Strings.
func (s *Set) IDs(name string) []int64 {
	var ids []int64
	for _, e := range s.Strings(name) {
		id, err := strconv.ParseInt(e, 10, 64)
		if err != nil || id <= 0 {
			s.Fault(name, "is invalid")
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}

// valid refuses what no column and no command line can hold.
func valid(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }
