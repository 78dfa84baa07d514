// Package console writes text for the person at the other end of an SSH session,
// in the frames that wire/gitlab-shell.md §4 documents byte for byte. Everything
// here goes to stderr; git shows it as it is.
package console

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// ruler is the line above and below a warning.
const ruler = "========================================================================"

// Info writes messages that come before a command. It writes nothing if all of
// them are blank.
func Info(w io.Writer, messages []string) error {
	if blank(messages) {
		return nil
	}
	return write(w, append(append([]string{""}, messages...), ""))
}

// Failure writes the box that says why a command was not run or broke off.
func Failure(w io.Writer, message string) error {
	return write(w, []string{"", ruler, "", "ERROR: " + message + "\n", "", ruler, ""})
}

// Refusal is Failure as gitlab-shell prints it under OpenSSH. It writes nothing if
// there is nothing to say.
func Refusal(w io.Writer, message string) error {
	if blank([]string{message}) {
		return nil
	}
	return write(w, []string{"", ruler, "", message, "", ruler, ""})
}

// Plain writes one line without a frame.
func Plain(w io.Writer, message string) error {
	if _, err := io.WriteString(w, Clean(message)+"\n"); err != nil {
		return fmt.Errorf("write to the user's terminal: %w", err)
	}
	return nil
}

func blank(messages []string) bool {
	for _, m := range messages {
		if strings.TrimSpace(m) != "" {
			return false
		}
	}
	return true
}

// write sends the lines in one piece, so that nothing gets between them.
func write(w io.Writer, lines []string) error {
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "remote: %s\n", Clean(line))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write to the user's terminal: %w", err)
	}
	return nil
}

// Clean removes what could steer a terminal: control characters other than tab
// and newline, and bytes that are not UTF-8.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n':
			return r
		case unicode.IsControl(r):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(text, ""))
}
