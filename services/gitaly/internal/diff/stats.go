package diff

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// Stat counts the lines of a changed file; none of what is no text.
type Stat struct {
	Added, Removed int
	OldPath        []byte // nil unless the file was renamed
	Path           []byte
}

// Stats calls each for every changed file.
func Stats(ctx context.Context, git Git, repo *gitcmd.Repo, r Range, each func(Stat) error) error {
	if err := r.check(); err != nil {
		return err
	}
	out, err := git.Reader(ctx, repo, r.spec("--numstat", "-z", "--find-renames"))
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	in := bufio.NewReaderSize(out, 64<<10)
	for {
		s, err := readStat(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failed(err)
		}
		if err := each(s); err != nil {
			return err
		}
	}
}

// readStat reads "<added> TAB <removed> TAB <path> NUL", of a rename with an empty path
// and the two paths behind it, each with its NUL.
func readStat(in *bufio.Reader) (Stat, error) {
	line, err := readUntil(in, 0, maxPath)
	if err != nil {
		return Stat{}, err
	}
	fields := bytes.SplitN(line, []byte{'\t'}, 3)
	if len(fields) != 3 {
		return Stat{}, malformed("numstat", line)
	}
	s := Stat{Path: fields[2]}
	for i, dst := range []*int{&s.Added, &s.Removed} {
		if string(fields[i]) == "-" { // no text
			continue
		}
		n, err := strconv.ParseInt(string(fields[i]), 10, 32)
		if err != nil || n < 0 {
			return Stat{}, malformed("numstat", line)
		}
		*dst = int(n)
	}
	if len(s.Path) > 0 {
		return s, nil
	}
	if s.OldPath, err = readUntil(in, 0, maxPath); err != nil {
		return Stat{}, unexpected(err)
	}
	s.Path, err = readUntil(in, 0, maxPath)
	return s, unexpected(err)
}
