package diff

import "fmt"

// header is the line that git prints before the patch of a change.
func (c Change) header() []byte {
	line := append([]byte("diff --git "), quote("a/", c.OldPath)...)
	return append(append(line, ' '), quote("b/", c.NewPath)...)
}

// escapes are the bytes that have a letter.
var escapes = map[byte]byte{'\a': 'a', '\b': 'b', '\t': 't', '\n': 'n', '\v': 'v', '\f': 'f', '\r': 'r', '"': '"', '\\': '\\'} //nolint:gochecknoglobals // a constant

// quote writes a path as git does with core.quotePath: in quotes if a byte of it is
// special.
func quote(prefix string, path []byte) []byte {
	out := append([]byte{'"'}, prefix...)
	special := false
	for _, b := range path {
		letter, ok := escapes[b]
		switch {
		case ok:
			out = append(out, '\\', letter)
		case b < 0x20 || b >= 0x7f:
			out = fmt.Appendf(out, `\%03o`, b)
		default:
			out = append(out, b)
			continue
		}
		special = true
	}
	if !special {
		return out[1:]
	}
	return append(out, '"')
}
