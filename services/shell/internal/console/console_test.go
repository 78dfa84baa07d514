package console_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/shell/internal/console"
)

func TestInfo(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		messages []string
		want     string
	}{
		{"none", nil, ""},
		{"all blank", []string{"", " ", "\n"}, ""},
		{"one", []string{"hello"}, "remote: \nremote: hello\nremote: \n"},
		{"two", []string{"a", "b"}, "remote: \nremote: a\nremote: b\nremote: \n"},
		{"one of them blank", []string{"a", ""}, "remote: \nremote: a\nremote: \nremote: \n"},
		{"several lines", []string{"a\nb"}, "remote: \nremote: a\nb\nremote: \n"},
		{"escape sequences", []string{"\x1b[31mred\x07\r\u009b"}, "remote: \nremote: [31mred\nremote: \n"},
		{"not UTF-8", []string{"a\xffb"}, "remote: \nremote: ab\nremote: \n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			if err := console.Info(&b, tc.messages); err != nil {
				t.Fatalf("Info(%q): %v", tc.messages, err)
			}
			if diff := cmp.Diff(tc.want, b.String()); diff != "" {
				t.Errorf("Info(%q) (-want +got):\n%s", tc.messages, diff)
			}
		})
	}
}

func TestFailure(t *testing.T) {
	t.Parallel()
	frame := func(text string) string {
		return "remote: \n" +
			"remote: ========================================================================\n" +
			"remote: \n" +
			"remote: ERROR: " + text + "\n" +
			"\n" +
			"remote: \n" +
			"remote: ========================================================================\n" +
			"remote: \n"
	}
	for _, tc := range []struct{ name, message, want string }{
		{"a sentence", "You are not allowed to push code to this project.", "You are not allowed to push code to this project."},
		{"empty", "", ""},
		{"several lines", "a\n\nb", "a\n\nb"},
		{"escape sequence", "a\x1b]0;x\x07b", "a]0;xb"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var b strings.Builder
			if err := console.Failure(&b, tc.message); err != nil {
				t.Fatalf("Failure(%q): %v", tc.message, err)
			}
			if diff := cmp.Diff(frame(tc.want), b.String()); diff != "" {
				t.Errorf("Failure(%q) (-want +got):\n%s", tc.message, diff)
			}
		})
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestFailure_brokenTerminal(t *testing.T) {
	t.Parallel()
	want := errors.New("gone")
	if err := console.Failure(brokenWriter{want}, "x"); !errors.Is(err, want) {
		t.Errorf("Failure: got error %v, want %v", err, want)
	}
}
