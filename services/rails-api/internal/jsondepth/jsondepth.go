// Package jsondepth bounds the nesting of JSON from outside before it is decoded
// (security-baseline.md V5).
package jsondepth

// Max is the deepest nesting that is read.
const Max = 32

// Exceeds reports whether brackets outside of strings nest deeper than Max. Text that
// is no JSON is left for the decoder to refuse.
func Exceeds(text []byte) bool {
	depth, inString, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > Max {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
