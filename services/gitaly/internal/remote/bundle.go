package remote

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/ref"
)

// Bundle is a file with references and their objects. It is a Remote.
type Bundle struct{ path string }

// bundleMarks are the first lines of the versions that git knows.
var bundleMarks = []string{"# v2 git bundle\n", "# v3 git bundle\n"} //nolint:gochecknoglobals // a constant

// OpenBundle takes a file for a bundle if it begins like one; otherwise it is
// errs.Invalid. The check is not for comfort: git would take another file for a
// repository, or for a pointer to one, and read that.
func OpenBundle(path string) (Bundle, error) {
	f, err := os.Open(path)
	if err != nil {
		return Bundle{}, fmt.Errorf("open bundle: %w", err)
	}
	defer func() { _ = f.Close() }()
	mark := make([]byte, len(bundleMarks[0]))
	if _, err := io.ReadFull(f, mark); err != nil || !slices.Contains(bundleMarks, string(mark)) {
		return Bundle{}, errs.New(errs.Invalid, "the data is not a git bundle")
	}
	return Bundle{path: path}, nil
}

func (b Bundle) connect(context.Context) (*line, error) {
	return &line{
		url: b.path, config: []gitcmd.Config{{Key: "protocol.file.allow", Value: "always"}},
		conceal: func(text string) string { return strings.ReplaceAll(text, b.path, "bundle") },
	}, nil
}

func (b Bundle) describe(ctx context.Context, s *Service) (Facts, error) {
	var f Facts
	err := s.List(ctx, b, nil, func(a Advertised) error {
		f.SHA256 = len(a.OID) == 64
		return gitcmd.ErrStop
	})
	if err != nil {
		return f, err
	}
	f.Head, err = s.GuessHead(ctx, b, ref.Branches+"main", ref.Branches+"master")
	return f, err
}

// GuessHead returns a branch that points where the HEAD of a bundle does, since
// bundles do not say which one it means: one of the preferred if it can, else the
// first; "" if there is none.
func (s *Service) GuessHead(ctx context.Context, b Bundle, preferred ...string) (string, error) {
	var oid string
	err := s.List(ctx, b, []string{"HEAD"}, func(a Advertised) error {
		if a.Name == "HEAD" {
			oid = a.OID
		}
		return nil
	})
	if err != nil || oid == "" {
		return "", err
	}
	best, rank := "", len(preferred)+1
	err = s.List(ctx, b, []string{ref.Branches + "*"}, func(a Advertised) error {
		if a.OID != oid {
			return nil
		}
		at := slices.Index(preferred, a.Name)
		if at < 0 {
			at = len(preferred)
		}
		if at < rank {
			best, rank = a.Name, at
		}
		return nil
	})
	return best, err
}
