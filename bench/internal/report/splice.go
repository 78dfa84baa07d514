package report

import (
	"fmt"
	"strings"
)

// Splice replaces what stands in text between the lines `<!-- name -->` and
// `<!-- /name -->`; everything else stays as it is. A text without exactly this pair
// is an error.
func Splice(text, name, content string) (string, error) {
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok := strings.Cut(text, begin)
	if !ok {
		return "", fmt.Errorf("no line %q", strings.TrimSpace(begin))
	}
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("no line %q behind %q", end, strings.TrimSpace(begin))
	}
	return head + begin + content + end + tail, nil
}
