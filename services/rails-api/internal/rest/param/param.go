// Package param reads the parameters of a REST request: the query, and a JSON, form or multipart body, as one set of named values.
//
// The rules are those of wire/rest-api.md §1: an empty value counts as not given, unknown names are ignored, lists come as name[]=a, as
// a JSON array or separated by commas. Getters never fail on the spot: they note what is wrong, and Err returns all of it at the end, so
// that a caller sees every fault of a request at once.
package param

import (
	"fmt"
	"strings"
)

// Set holds the parameters of one request. It is not safe for concurrent use.
type Set struct {
	values map[string]any // string, json.Number, bool, nil, []any or map[string]any
	faults []string
}

// Error lists the parameters that are missing or wrong; the answer is 400 with the joined texts (wire/rest-api.md §3).
type Error struct {
	Faults []string
}

// Error joins the faults as GitLab prints them.
func (e *Error) Error() string { return strings.Join(e.Faults, ", ") }

// Err returns an *Error with every fault noted so far, or nil.
func (s *Set) Err() error {
	if len(s.faults) == 0 {
		return nil
	}
	return &Error{Faults: s.faults}
}

// Fault notes a fault found by the caller, "<name> <text>".
func (s *Set) Fault(name, text string) {
	fault := name + " " + text
	for _, known := range s.faults {
		if known == fault {
			return
		}
	}
	s.faults = append(s.faults, fault)
}

// Given reports whether the request names the parameter with a value other than null; the value may be empty.
func (s *Set) Given(name string) bool { return s.values[name] != nil }

// Named reports whether the request names the parameter at all, with whatever value; null then means "clear it".
func (s *Set) Named(name string) bool {
	_, ok := s.values[name]
	return ok
}

// Require notes a fault for each parameter that is not given or empty.
func (s *Set) Require(names ...string) {
	for _, name := range names {
		if s.lookup(name) == nil {
			s.Fault(name, "is missing")
		}
	}
}

// RequireOne notes one fault when none of the parameters is given.
func (s *Set) RequireOne(names ...string) {
	for _, name := range names {
		if s.lookup(name) != nil {
			return
		}
	}
	s.Fault(strings.Join(names, ", "), "are missing, at least one parameter must be provided")
}

// lookup returns the value, or nil when it is not given or empty.
func (s *Set) lookup(name string) any {
	switch v := s.values[name].(type) {
	case string:
		if v == "" {
			return nil
		}
		return v
	case []any:
		if len(v) == 0 {
			return nil
		}
		return v
	default:
		return v
	}
}

// text renders a scalar value as text.
func text(v any) (string, bool) {
	switch v.(type) {
	case []any, map[string]any:
		return "", false
	}
	s := fmt.Sprint(v)
	return s, valid(s)
}
