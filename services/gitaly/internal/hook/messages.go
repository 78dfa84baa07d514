package hook

import (
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/internalapi"
)

// The layout of messages (wire/gitaly.md §7.4): a terminal of 80 columns, less
// what git puts before each line.
const (
	messageWidth = 80 - len("remote: ")
	margin       = 2
)

// writeMessages prints the API's messages for the user.
func writeMessages(w io.Writer, messages []internalapi.Message) error {
	for _, m := range messages {
		body := Printable(m.Message)
		switch m.Type {
		case internalapi.MessageBasic:
		case internalapi.MessageAlert:
			body = alert(body)
		default:
			return fmt.Errorf("invalid message type: %s", m.Type)
		}
		if _, err := io.WriteString(w, "\n"+body+"\n\n"); err != nil {
			return err
		}
	}
	return nil
}

// alert frames a text and centres its lines.
func alert(text string) string {
	frame := strings.Repeat("=", messageWidth)
	var b strings.Builder
	b.WriteString(frame + "\n\n")
	for _, line := range wrap(text, messageWidth-2*margin) {
		b.WriteString(strings.Repeat(" ", max(0, (messageWidth-len(line))/2)) + line + "\n")
	}
	b.WriteString("\n" + frame)
	return b.String()
}

// wrap fills lines with words up to a width in bytes; a longer word stands alone.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}
