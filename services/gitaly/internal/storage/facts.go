package storage

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"gitsplit/kit/errs"
)

// ObjectFormat returns "sha1" or "sha256". It reads the repository's config file
// itself: a push asks, and a git process would cost more than the answer.
func (r *Repo) ObjectFormat() (string, error) {
	raw, err := r.Storage.root.ReadFile(filepath.Join(r.RelativePath, "config"))
	if err != nil {
		return "", fmt.Errorf("read repository config: %w", err)
	}
	section := ""
	for sc := bufio.NewScanner(bytes.NewReader(raw)); sc.Scan(); {
		line := strings.ToLower(strings.TrimSpace(sc.Text()))
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		if section == "[extensions]" && strings.TrimSpace(key) == "objectformat" && strings.TrimSpace(value) == "sha256" {
			return "sha256", nil
		}
	}
	return "sha1", nil
}

// Config opens the repository's configuration file.
func (r *Repo) Config() (*os.File, error) {
	f, err := r.Storage.root.Open(filepath.Join(r.RelativePath, "config"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errs.Wrap(errs.NotFound, "repository has no configuration", err)
	}
	return f, err
}

// Size returns the disk space of the repository in bytes. Files that vanish
// while it counts are left out.
func (r *Repo) Size(ctx context.Context) (int64, error) { return measure(ctx, r.Dir) }

// ObjectsSize is Size for the object directory alone: the quarantine's if the request
// has one.
func (r *Repo) ObjectsSize(ctx context.Context) (int64, error) {
	if r.ObjectDir != "" {
		return measure(ctx, r.ObjectDir)
	}
	return measure(ctx, filepath.Join(r.Dir, "objects"))
}

func measure(ctx context.Context, dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return nil //nolint:nilerr // vanished
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // vanished
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure repository: %w", err)
	}
	return total, nil
}
