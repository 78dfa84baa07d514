package app

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"gitsplit/kit/logging"
)

// Formats of the log, GitLab's words (wire/workhorse.md §1.5).
const (
	formatJSON       = "json"
	formatStructured = "structured" // key=value, for people
	formatText       = "text"       // access lines in Apache's combined form, the rest as structured to stderr
	formatNone       = "none"
)

// openLog returns the log that the settings ask for. The file, if there is one, is
// appended to; a tool that rotates it has to copy and truncate.
func (c *Config) openLog(stderr io.Writer) (_ *slog.Logger, closeLog func() error, err error) {
	if c.LogFormat == formatNone {
		return logging.Discard(), func() error { return nil }, nil
	}
	w, closeLog := stderr, func() error { return nil }
	if c.LogFile != "" {
		f, err := os.OpenFile(c.LogFile, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("log_file: %w", err)
		}
		w, closeLog = f, f.Close
	}
	rest := w
	if c.LogFormat == formatText {
		rest = stderr
	}
	log, err := logging.New(rest, logging.Options{Service: "gitlab-workhorse", Level: c.LogLevel, Text: c.LogFormat != formatJSON})
	if err != nil {
		return nil, nil, errors.Join(err, closeLog())
	}
	if c.LogFormat == formatText {
		log = slog.New(combined{log.Handler(), w})
	}
	return log, closeLog, nil
}
