package hook

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gitsplit/services/gitaly/internal/api"
)

// Limits of a push (security-baseline.md V7, §12).
const (
	maxRefs      = 200_000
	maxOptions   = 50
	maxOptionLen = 1 << 10
)

func asRefusal(err error) (*api.Refusal, bool) {
	var r *api.Refusal
	ok := errors.As(err, &r)
	return r, ok
}

// checkChanges reads the lines that git gives a hook: "<old> SP <new> SP <ref> LF".
func checkChanges(changes []byte) error {
	count := 0
	for len(changes) > 0 {
		line, rest, found := bytes.Cut(changes, []byte("\n"))
		fields := bytes.SplitN(line, []byte(" "), 3)
		if !found || len(fields) != 3 || len(fields[0]) != len(fields[1]) ||
			!validOID(string(fields[0])) || !validOID(string(fields[1])) || !bytes.HasPrefix(fields[2], []byte("refs/")) ||
			bytes.ContainsAny(fields[2], " \x00") {
			return fmt.Errorf("hook got an invalid reference update")
		}
		if count++; count > maxRefs {
			return fmt.Errorf("a push may change at most %d references", maxRefs)
		}
		changes = rest
	}
	return nil
}

func validOID(s string) bool {
	if len(s) != 40 && len(s) != 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func checkOptions(options []string) error {
	if len(options) > maxOptions {
		return fmt.Errorf("a push may have at most %d push options", maxOptions)
	}
	for _, o := range options {
		if len(o) > maxOptionLen {
			return fmt.Errorf("a push option may be at most %d bytes long", maxOptionLen)
		}
		if !utf8.ValidString(o) || bytes.ContainsFunc([]byte(o), unicode.IsControl) {
			return fmt.Errorf("a push option must be printable text")
		}
	}
	return nil
}

// Printable removes the control characters but line breaks and tabs, so that a
// text cannot drive the user's terminal (security-baseline.md L2). What is not
// UTF-8 becomes U+FFFD: some terminals take single bytes as controls.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
}
