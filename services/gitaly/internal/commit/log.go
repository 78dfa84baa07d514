package commit

import (
	"bytes"
	"context"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/object"
)

// Log is List through git log, which alone follows a file through renames, counts
// changed lines and names references.
func Log(ctx context.Context, git Git, repo *gitcmd.Repo, w Walk, follow, stat bool, each func(*gitalypb.GitCommit) error) error {
	if follow && len(w.Paths) != 1 {
		return errs.New(errs.Invalid, "can only follow a single path")
	}
	s, err := w.spec("--format=commit %H")
	if err != nil {
		return err
	}
	s.Name = "log"
	if len(w.ReferencedBy) > 0 {
		s.Flags = append(s.Flags, "--format=commit %H %D", "--decorate=full")
	}
	for _, pattern := range w.ReferencedBy {
		s.Flags = append(s.Flags, "--decorate-refs="+pattern)
	}
	if follow {
		s.Flags = append(s.Flags, "--follow")
	}
	if stat {
		s.Flags = append(s.Flags, "--shortstat")
	}
	objects, err := object.Open(ctx, git, repo)
	if err != nil {
		return err
	}
	defer func() { _ = objects.Close() }()
	var last *gitalypb.GitCommit // complete when the next one begins
	flush := func() error {
		if last == nil {
			return nil
		}
		return each(last)
	}
	err = git.Lines(ctx, repo, s, func(line []byte) error {
		head, found := bytes.CutPrefix(line, []byte("commit "))
		if !found {
			if last != nil {
				shortStat(last, string(line))
			}
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		oid, names, _ := strings.Cut(string(head), " ")
		if last, err = w.read(objects, oid); err != nil {
			return err
		}
		last.ReferencedBy = references(names)
		if stat {
			last.ShortStats = &gitalypb.CommitStatInfo{}
		}
		return nil
	})
	if err != nil {
		return unknownRevision(err)
	}
	return flush()
}

// references reads "HEAD -> refs/heads/main, tag: refs/tags/v1".
func references(decoration string) (names [][]byte) {
	for part := range strings.SplitSeq(decoration, ", ") {
		for name := range strings.SplitSeq(strings.TrimPrefix(part, "tag: "), " -> ") {
			if name != "" {
				names = append(names, []byte(name))
			}
		}
	}
	return names
}

// shortStat reads " 2 files changed, 3 insertions(+), 1 deletion(-)".
func shortStat(c *gitalypb.GitCommit, line string) {
	for part := range strings.SplitSeq(line, ",") {
		number, what, _ := strings.Cut(strings.TrimSpace(part), " ")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil || c.ShortStats == nil {
			continue
		}
		switch {
		case strings.HasPrefix(what, "file"):
			c.ShortStats.ChangedFiles = int32(n)
		case strings.HasPrefix(what, "insertion"):
			c.ShortStats.Additions = int32(n)
		case strings.HasPrefix(what, "deletion"):
			c.ShortStats.Deletions = int32(n)
		}
	}
}

// Stats counts what a commit changed against its first parent. One that is not there
// is errs.NotFound.
func Stats(ctx context.Context, git Git, repo *gitcmd.Repo, revision string) (oid string, stats *gitalypb.CommitStatInfo, err error) {
	c, err := Find(ctx, git, repo, revision)
	if err != nil {
		return "", nil, err
	}
	w := Walk{Revisions: []string{c.GetId()}, Flags: []string{"--diff-merges=first-parent"}}
	w.Limit(1)
	err = Log(ctx, git, repo, w, false, true, func(c *gitalypb.GitCommit) error {
		stats = c.GetShortStats()
		return nil
	})
	return c.GetId(), stats, err
}
