package main

import (
	"fmt"
	"slices"
	"strings"
)

// How much of one failure the summary repeats: lines, and bytes of each.
const (
	excerptLines = 40
	excerptWidth = 1000
)

// excerpt is the end of a test's output, where its last words are, or the start
// of the first panic in it, which the stacks of all goroutines follow. It says
// what it leaves out.
func excerpt(output string) string {
	lines := slices.DeleteFunc(strings.Split(output, "\n"), marker)
	start := max(0, len(lines)-excerptLines)
	if i := slices.IndexFunc(lines, panics); i >= 0 {
		start = min(start, i)
	}
	end := min(len(lines), start+excerptLines)
	var b strings.Builder
	leftOut(&b, start)
	for _, line := range lines[start:end] {
		if len(line) > excerptWidth {
			kept := strings.ToValidUTF8(line[:excerptWidth], "")
			line = fmt.Sprintf("%s… (%d more bytes)", kept, len(line)-len(kept))
		}
		b.WriteString(line + "\n")
	}
	leftOut(&b, len(lines)-end)
	return b.String()
}

// marker reports whether a line only says that a test starts, waits, goes on or has failed.
func marker(line string) bool {
	line = strings.TrimSpace(line)
	return line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- FAIL: ")
}

func panics(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
}

func leftOut(b *strings.Builder, lines int) {
	if lines > 0 {
		fmt.Fprintf(b, "… %d lines left out, they stand above where the package ended\n", lines)
	}
}
