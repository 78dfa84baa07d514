// Package entity holds the JSON shapes of the REST API (wire/rest-api.md §9) as plain structs: every key that clients read is there, null
// where nothing is known, and lists are never null. It knows nothing of the domain; the rest package fills it in.
package entity

import (
	"time"
)

// Time is a moment as GitLab prints it: RFC 3339 in UTC with milliseconds.
type Time time.Time

// MarshalJSON prints the moment; the zero time is null.
func (t Time) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return time.Time(t).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// TimePtr converts an optional moment.
func TimePtr(t *time.Time) *Time {
	if t == nil {
		return nil
	}
	return new(Time(*t))
}

// Date is a day, YYYY-MM-DD.
type Date time.Time

// MarshalJSON prints the day.
func (d Date) MarshalJSON() ([]byte, error) {
	return time.Time(d).UTC().AppendFormat(nil, `"2006-01-02"`), nil
}

// DatePtr converts an optional day.
func DatePtr(t *time.Time) *Date {
	if t == nil {
		return nil
	}
	return new(Date(*t))
}

// List returns an empty list instead of a missing one, since clients cannot read null as a list.
func List[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
