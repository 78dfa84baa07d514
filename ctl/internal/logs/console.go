package logs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
)

// Console is the terminal. Safe for concurrent use.
type Console struct {
	w       io.Writer
	colour  bool
	verbose bool
	width   int
	mu      sync.Mutex
}

// NewConsole writes to w. With verbose every line of every service is shown,
// without only warnings and errors. Width is that of the longest service name.
func NewConsole(w io.Writer, colour, verbose bool, width int) *Console {
	return &Console{w: w, colour: colour, verbose: verbose, width: width}
}

// IsTerminal reports whether f is a terminal that wants colours (no-color.org).
func IsTerminal(f *os.File, lookup func(string) (string, bool)) bool {
	if off, _ := lookup("NO_COLOR"); off != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// Say shows a line of gitsplit's own about the named service.
func (c *Console) Say(name, format string, args ...any) {
	c.line(name, slog.LevelInfo, fmt.Sprintf(format, args...))
}

// Warn is Say for what is not as it should be.
func (c *Console) Warn(name, format string, args ...any) {
	c.line(name, slog.LevelWarn, fmt.Sprintf(format, args...))
}

// show writes a line of a service, if it is one to be shown.
func (c *Console) show(name string, e Entry) (shown bool) {
	shown = e.Text != "" && (c.verbose || e.Level >= slog.LevelWarn)
	if shown {
		c.line(name, e.Level, e.Text)
	}
	return shown
}

// line writes a line at once, so that lines of several services do not mix.
func (c *Console) line(name string, level slog.Level, text string) {
	before, after := "", ""
	if c.colour {
		before, after = colourOf(level), "\x1b[0m"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = fmt.Fprintf(c.w, "%s%-*s |%s %s\n", before, c.width, name, after, text) // nobody to tell
}

func colourOf(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return "\x1b[31m" // red
	case level >= slog.LevelWarn:
		return "\x1b[33m" // yellow
	default:
		return "\x1b[36m" // cyan
	}
}
