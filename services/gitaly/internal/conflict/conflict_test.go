package conflict_test

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"strings"
	"testing"

	"gitsplit/services/gitaly/internal/conflict"
)

const (
	ours   = "1111111111111111111111111111111111111111"
	theirs = "2222222222222222222222222222222222222222"
)

// merged is a file with two conflicts, the second at its end.
const merged = "a\n<<<<<<< " + ours + "\nours 1\nours 2\n=======\ntheirs 1\n>>>>>>> " + theirs + "\nb\r\n<<<<<<< " + ours + "\n=======\ntheirs 2\n>>>>>>> " + theirs + "\n"

// id is that of the section which begins at the two numbers of lines.
func id(path string, old, new int) string {
	return fmt.Sprintf("%x_%d_%d", sha1.Sum([]byte(path)), old, new)
}

func TestMarkers_Resolve(t *testing.T) {
	t.Parallel()
	first, second := id("f", 2, 2), id("f", 4, 5)
	for _, tc := range []struct {
		name     string
		content  string
		choices  conflict.Choices
		endsOpen bool
		want     string
		err      error
	}{
		{"ours", merged, conflict.Choices{first: "head", second: "head"}, false, "a\nours 1\nours 2\nb\r\n", nil},
		{"theirs", merged, conflict.Choices{first: "origin", second: "origin"}, false, "a\ntheirs 1\nb\r\ntheirs 2\n", nil},
		{"some of both, no line break at the end", merged, conflict.Choices{first: "head", second: "origin"}, true, "a\nours 1\nours 2\nb\r\ntheirs 2", nil},
		{"line breaks of Windows", strings.ReplaceAll(merged, "\n", "\r\n"), conflict.Choices{first: "head", second: "head"}, true, "a\r\nours 1\r\nours 2\r\nb\r", nil},
		{"one is missing", merged, conflict.Choices{first: "head"}, false, "", errors.New("Missing resolution for section ID: " + second)},
		{"neither side", merged, conflict.Choices{first: "both", second: "head"}, false, "", errors.New("Missing resolution for section ID: " + first)},
		{"nothing to resolve", "a\n=x\n", nil, false, "a\n=x\n", nil},
		{"no content", "", nil, false, "", conflict.ErrUnmergeable},
		{"too large", strings.Repeat("a\n", conflict.MaxSize), nil, false, "", conflict.ErrUnmergeable},
		{"a begin too much", "<<<<<<< " + ours + "\n<<<<<<< " + ours + "\n", nil, false, "", conflict.ErrDelimiter},
		{"a middle outside", "a\n=======\n", nil, false, "", conflict.ErrDelimiter},
		{"an end outside", ">>>>>>> " + theirs + "\n", nil, false, "", conflict.ErrDelimiter},
		{"no end", "<<<<<<< " + ours + "\na\n=======\n", nil, false, "", conflict.ErrNoEnd},
		{"markers of another merge", "<<<<<<< HEAD\na\n", nil, false, "<<<<<<< HEAD\na\n", nil},
	} {
		got, err := conflict.Between(ours, theirs, "f", "f").Resolve([]byte(tc.content), "f", tc.choices, tc.endsOpen)
		if string(got) != tc.want || (err == nil) != (tc.err == nil) || err != nil && !errors.Is(err, tc.err) && err.Error() != tc.err.Error() {
			t.Errorf("%s: %q, %v, want %q, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
	renamed := strings.NewReplacer(ours, ours+":old", theirs, theirs+":new").Replace(merged)
	if got, err := conflict.Between(ours, theirs, "old", "new").Resolve([]byte(renamed), "new", conflict.Choices{id("new", 2, 2): "head", id("new", 4, 5): "head"}, false); err != nil || string(got) != "a\nours 1\nours 2\nb\r\n" {
		t.Errorf("renamed: %q, %v", got, err)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	text := merged + "the id " + ours + " stays"
	want := strings.NewReplacer("<<<<<<< "+ours, "<<<<<<< our/path", ">>>>>>> "+theirs, ">>>>>>> their/path").Replace(text)
	if got := conflict.Show([]byte(text), ours, theirs, "our/path", "their/path"); string(got) != want {
		t.Errorf("Show = %q, want %q", got, want)
	}
}

func FuzzMarkers_Resolve(f *testing.F) {
	f.Add(merged)
	f.Add(strings.ReplaceAll(merged, "\n", "\r\n"))
	f.Fuzz(func(t *testing.T, content string) {
		got, err := conflict.Between(ours, theirs, "f", "f").Resolve([]byte(content), "f", nil, false)
		if err == nil && len(got) > len(content) { // markers go, nothing comes
			t.Errorf("%q became %q", content, got)
		}
	})
}
