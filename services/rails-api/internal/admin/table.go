package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"gitsplit/services/rails-api/internal/postgres"
)

// table writes rows as they come, so that a list of any length takes no memory.
type table struct {
	w       io.Writer
	json    bool
	columns []string
	rows    int
}

// head names the columns; every command that prints calls it once, before the first row.
func (t *table) head(columns ...string) error {
	t.columns = columns
	if t.json {
		return nil
	}
	return t.write(strings.Join(columns, "\t") + "\n")
}

// row writes one value for each column.
func (t *table) row(values ...any) error {
	t.rows++
	if !t.json {
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = cell(v)
		}
		return t.write(strings.Join(cells, "\t") + "\n")
	}
	object := make(map[string]any, len(values))
	for i, v := range values {
		object[t.columns[i]] = v
	}
	text, err := json.Marshal(object)
	if err != nil {
		return fmt.Errorf("print a row: %w", err)
	}
	before := ",\n "
	if t.rows == 1 {
		before = "[\n "
	}
	return t.write(before + string(text))
}

// end closes a JSON list. A command without a result prints nothing.
func (t *table) end() error {
	switch {
	case !t.json || t.columns == nil:
		return nil
	case t.rows == 0:
		return t.write("[]\n")
	}
	return t.write("\n]\n")
}

func (t *table) write(text string) error {
	if _, err := io.WriteString(t.w, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// cell is a value without tabs, line breaks and what a terminal takes for a command; "-" is nothing.
func cell(v any) string {
	text := fmt.Sprint(v)
	switch v := v.(type) {
	case *time.Time:
		text = ""
		if v != nil {
			text = v.UTC().Format(time.RFC3339)
		}
	case time.Time:
		text = v.UTC().Format(time.RFC3339)
	case []string:
		text = strings.Join(v, ",")
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
	if text == "" {
		return "-"
	}
	return text
}

// each hands every record of a list that is read page by page to show.
func each[T any](list func(p postgres.Page) ([]T, int, error), show func(T) error) error {
	const size = 200
	for offset := 0; ; offset += size {
		page, _, err := list(postgres.Page{Limit: size, Offset: offset})
		if err != nil {
			return err
		}
		for _, v := range page {
			if err := show(v); err != nil {
				return err
			}
		}
		if len(page) < size {
			return nil
		}
	}
}
