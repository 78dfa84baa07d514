package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/suite"
)

// commit names the commit of the checkout and says whether files differ from it.
func commit(ctx context.Context, root string) (id string, dirty bool) {
	head, err := exec.CommandContext(ctx, "git", "-C", root, "rev-parse", "HEAD").Output() //nolint:gosec // git
	if err != nil {
		return "unknown", true
	}
	changed, err := exec.CommandContext(ctx, "git", "-C", root, "status", "--porcelain").Output() //nolint:gosec // git
	return strings.TrimSpace(string(head)), err != nil || len(changed) > 0
}

// write leaves the result in the output directory, prints it, and, when it is to be
// kept, puts it into the documents.
func write(o suite.Options, r *report.Run, record bool) error {
	var text, data bytes.Buffer
	err := errors.Join(r.WriteMarkdown(&text), r.WriteJSON(&data),
		os.WriteFile(filepath.Join(o.Out, "results.md"), text.Bytes(), 0o600),
		os.WriteFile(filepath.Join(o.Out, "results.json"), data.Bytes(), 0o600))
	fmt.Print(text.String())
	if !record || err != nil {
		return err
	}
	if r.Quick || len(o.Rows) > 0 {
		return errors.New("only a full run is kept in the documents")
	}
	return errors.Join(
		splice(filepath.Join(o.Root, "bench", "RESULTS.md"), "run", text.String()),
		splice(filepath.Join(o.Root, "README.md"), "speed", r.Short()))
}

// splice replaces the marked part of a document.
func splice(file, name, content string) error {
	old, err := os.ReadFile(file) //nolint:gosec // our own documents
	if err != nil {
		return err
	}
	text, err := report.Splice(string(old), name, content)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec // documents are for all to read
}
