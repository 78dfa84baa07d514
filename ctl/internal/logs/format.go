package logs

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sort"
	"strings"
	"unicode"
)

// Entry is one line, made fit for a terminal.
type Entry struct {
	Level slog.Level
	// Text has no control characters.
	Text string
}

// Format reads one line.
type Format func(line string) Entry

// JSON reads the lines of our services. A line that is none of theirs, such as the
// last words of a program that could not start, is shown.
func JSON(line string) Entry {
	var fields map[string]any
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &fields) != nil {
		return Entry{Level: slog.LevelWarn, Text: clean(line)}
	}
	var level slog.Level
	if text, ok := fields["level"].(string); !ok || level.UnmarshalText([]byte(text)) != nil {
		level = slog.LevelInfo
	}
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "%s %v", level, fields["msg"])
	for _, known := range []string{"time", "level", "msg", "service"} {
		delete(fields, known)
	}
	for _, key := range sortedKeys(fields) {
		_, _ = fmt.Fprintf(&text, " %s=%s", key, compact(fields[key]))
	}
	return Entry{Level: level, Text: clean(text.String())}
}

// Postgres reads the server's log. A statement or connection that fails (ERROR,
// FATAL) is the business of the service it belongs to; a broken server is shown.
func Postgres(line string) Entry {
	level := slog.LevelInfo
	if strings.Contains(line, "] PANIC:") {
		level = slog.LevelWarn
	}
	return Entry{Level: level, Text: clean(line)}
}

// Quiet is for output of which nothing needs to be shown.
func Quiet(line string) Entry { return Entry{Level: slog.LevelInfo, Text: clean(line)} }

func sortedKeys(fields map[string]any) []string {
	keys := make([]string, 0, len(fields))
	for key := range fields {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

func compact(value any) string {
	if text, ok := value.(string); ok && text != "" && !strings.ContainsAny(text, " \"=") {
		return text
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "?"
	}
	return string(text)
}

// clean replaces what a terminal would take for a command: text of users reaches
// the logs.
func clean(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text))
}
