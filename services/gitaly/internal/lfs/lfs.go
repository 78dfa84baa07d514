// Package lfs knows the pointers that stand for large files in a repository, as
// git-lfs describes them (docs/spec.md, "The Pointer").
package lfs

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// MaxPointer is the size in bytes of the largest blob that is looked at: real
// pointers are well below.
const MaxPointer = 200

// Pointer is what a pointer says of its file.
type Pointer struct {
	OID  string // SHA-256 in hex
	Size int64  // in bytes
}

// versions are the beginnings of the first line; the second is that of the program's
// first releases.
var versions = []string{"version https://git-lfs.github.com/spec/", "version https://hawser.github.com/spec/"} //nolint:gochecknoglobals // a constant

// Parse reads a pointer and reports whether it is one: a line with the version first,
// then among other keys the id and the size.
func Parse(data []byte) (Pointer, bool) {
	if len(data) > MaxPointer {
		return Pointer{}, false
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	if !strings.HasPrefix(first, versions[0]) && !strings.HasPrefix(first, versions[1]) {
		return Pointer{}, false
	}
	p := Pointer{Size: -1}
	for line := range strings.Lines(rest) {
		switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); key {
		case "oid":
			p.OID = checkOID(value)
		case "size":
			p.Size = checkSize(value)
		}
	}
	return p, p.OID != "" && p.Size >= 0
}

// checkOID returns the hex digits, or "".
func checkOID(value string) string {
	digits, ok := strings.CutPrefix(value, "sha256:")
	if !ok || len(digits) != 64 || strings.ToLower(digits) != digits {
		return ""
	}
	if _, err := hex.DecodeString(digits); err != nil {
		return ""
	}
	return digits
}

// checkSize returns the number, or -1.
func checkSize(value string) int64 {
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || value[0] == '+' || n < 0 {
		return -1
	}
	return n
}
