package jsondepth_test

import (
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/jsondepth"
)

func TestExceeds(t *testing.T) {
	t.Parallel()
	deepest := strings.Repeat(`[`, jsondepth.Max) + strings.Repeat(`]`, jsondepth.Max)
	for text, want := range map[string]bool{
		"":                         false,
		deepest:                    false,
		"[" + deepest + "]":        true,
		`{"a":` + deepest + `}`:    true,
		`["` + deepest + `"]`:      false, // a string
		`["\"` + deepest + `"]`:    false,
		`["\\",` + deepest + `]`:   true,
		strings.Repeat(`[],`, 100): false,
	} {
		if got := jsondepth.Exceeds([]byte(text)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
