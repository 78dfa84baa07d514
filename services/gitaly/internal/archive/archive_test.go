package archive_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/archive"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// TestWrite_limits: the surface's tests have everything else.
func TestWrite_limits(t *testing.T) {
	t.Parallel()
	git, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "r.git")
	if err := git.Run(t.Context(), nil, gitcmd.Spec{Name: "init", Flags: []string{"--bare", "--quiet"}, Args: []string{dir}}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "--git-dir", dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader("commit refs/heads/main\ncommitter C <c@example.com> 0 +0000\ndata 0\nM 644 inline a\ndata 5\nhello\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fast-import: %v\n%s", err, out)
	}
	for _, tc := range []struct {
		name   string
		format archive.Format
		limits archive.Limits
		want   errs.Kind
	}{
		{"too large", archive.Tar, archive.Limits{Size: 10_000, Time: time.Minute}, errs.Exhausted},
		{"small when compressed", archive.TarGzip, archive.Limits{Size: 10_000, Time: time.Minute}, errs.Internal},
		{"too large although compressed", archive.TarBzip2, archive.Limits{Size: 10, Time: time.Minute}, errs.Exhausted},
		{"too slow", archive.Tar, archive.Limits{Size: 1 << 20}, errs.Timeout},
		{"no such format", 9, archive.DefaultLimits, errs.Invalid},
	} {
		err := archive.Write(t.Context(), git, &gitcmd.Repo{Dir: dir}, archive.Request{Revision: "main", Format: tc.format}, tc.limits, io.Discard)
		if errs.KindOf(err) != tc.want || (err == nil) != (tc.want == errs.Internal) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = archive.Write(ctx, git, &gitcmd.Repo{Dir: dir}, archive.Request{Revision: "main"}, archive.DefaultLimits, io.Discard)
	if errs.KindOf(err) != errs.Canceled {
		t.Errorf("canceled: %v", err)
	}
}
