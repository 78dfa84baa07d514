package senddata

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/workhorse/internal/gitaly"
)

// archiveParams are the parameters of git-archive. The request is GetArchiveRequest
// or, from an older rails-api, the three fields below it.
type archiveParams struct {
	GitalyServer      gitaly.Server
	GetArchiveRequest string
	GitalyRepository  gitaly.Repository
	CommitID          string `json:"CommitId"`
	ArchivePrefix     string

	// ArchivePath is where the archive may be kept, below StoragePath. Its last part
	// is the name that the client sees.
	ArchivePath, StoragePath string
	DisableCache             bool
	UseArchiveCleaner        bool
}

// archive sends the files of a commit as one file, kept or fresh
// (wire/workhorse.md §5.2).
func (s *Sender) archive(w http.ResponseWriter, r *http.Request, params string) error {
	var p archiveParams
	if err := decode(params, &p); err != nil {
		return err
	}
	format, ok := archiveFormat(path.Base(r.URL.Path))
	if !ok {
		return fmt.Errorf("no archive format in %q", r.URL.Path)
	}
	req, err := p.request(format)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Disposition", attachment(path.Base(p.ArchivePath)))
	h.Set("Content-Type", "application/octet-stream")
	if format == gitalypb.GetArchiveRequest_ZIP {
		h.Set("Content-Type", "application/zip")
	}
	h.Set("Content-Transfer-Encoding", "binary")
	h.Del("Set-Cookie") // caches on the way may keep an archive
	kept, entry := s.cacheOf(r.Context(), p)
	if kept == nil {
		s.Metrics.archive("disabled")
		return s.freshArchive(w, r, p.GitalyServer, req)
	}
	defer kept.close()
	if f, err := kept.open(entry); err == nil {
		defer func() { _ = f.Close() }() // it was only read
		s.Metrics.archive("hit")
		serveFile(w, r, f, time.Time{})
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		s.log(r.Context(), "git-archive", fmt.Errorf("read the cache: %w", err))
	}
	s.Metrics.archive("miss")
	if r.Method == http.MethodHead {
		return nil
	}
	return s.keepArchive(w, r, p, req, kept, entry)
}

// request returns what gitaly is asked.
func (p *archiveParams) request(format gitalypb.GetArchiveRequest_Format) (*gitalypb.GetArchiveRequest, error) {
	if p.GetArchiveRequest == "" {
		return &gitalypb.GetArchiveRequest{
			Repository: p.GitalyRepository.Proto(), CommitId: p.CommitID, Prefix: p.ArchivePrefix, Format: format,
		}, nil
	}
	var req gitalypb.GetArchiveRequest
	return &req, packed(p.GetArchiveRequest, &req)
}

func (s *Sender) freshArchive(w http.ResponseWriter, r *http.Request, server gitaly.Server, req *gitalypb.GetArchiveRequest) error {
	return relay(s, w, r, server, func(ctx context.Context, conn *grpc.ClientConn) (grpc.ServerStreamingClient[gitalypb.GetArchiveResponse], error) {
		return gitalypb.NewRepositoryServiceClient(conn).GetArchive(ctx, req)
	})
}

// keepArchive sends a fresh archive and keeps it, if it can: the client does not wait
// for the disk's failures. Only what arrived whole is kept.
func (s *Sender) keepArchive(w http.ResponseWriter, r *http.Request, p archiveParams, req *gitalypb.GetArchiveRequest, kept *cache, entry string) error {
	ctx := r.Context()
	draft, err := kept.create(entry, s.Archives.Limit)
	if err != nil {
		s.log(ctx, "git-archive", fmt.Errorf("write the cache: %w", err))
		return s.freshArchive(w, r, p.GitalyServer, req)
	}
	err = s.freshArchive(teeWriter{w, draft}, r, p.GitalyServer, req)
	if err != nil {
		return errors.Join(err, draft.discard())
	}
	if err := draft.keep(); err != nil {
		s.log(ctx, "git-archive", fmt.Errorf("write the cache: %w", err))
	}
	s.Archives.stored()
	return nil
}

// teeWriter copies what it sends into a draft, which bears its own failures.
type teeWriter struct {
	http.ResponseWriter
	draft *draft
}

func (t teeWriter) Write(p []byte) (int, error) {
	t.draft.write(p)
	return t.ResponseWriter.Write(p)
}

// cacheOf opens the cache that rails-api named, nil when there is none. An archive
// outside of the storage path is never kept.
func (s *Sender) cacheOf(ctx context.Context, p archiveParams) (*cache, string) {
	if p.DisableCache || s.Archives == nil || !filepath.IsAbs(p.StoragePath) {
		return nil, ""
	}
	entry, err := filepath.Rel(p.StoragePath, p.ArchivePath)
	if err != nil || !filepath.IsLocal(entry) || entry == "." {
		return nil, ""
	}
	if p.UseArchiveCleaner {
		s.Archives.watch(p.StoragePath)
	}
	c, err := openCache(p.StoragePath)
	if err != nil {
		s.Log.WarnContext(ctx, "archives are not kept", slog.Any(logging.KeyError, err))
		return nil, ""
	}
	return c, entry
}

// archiveFormat tells the kind of an archive by the end of a request's path.
func archiveFormat(name string) (gitalypb.GetArchiveRequest_Format, bool) {
	for _, f := range []struct {
		format gitalypb.GetArchiveRequest_Format
		ends   []string
	}{
		{gitalypb.GetArchiveRequest_TAR_GZ, []string{".tar.gz", ".tgz", ".gz"}},
		{gitalypb.GetArchiveRequest_TAR_BZ2, []string{".tar.bz2", ".tbz", ".tbz2", ".tb2", ".bz2"}},
		{gitalypb.GetArchiveRequest_ZIP, []string{".zip"}},
		{gitalypb.GetArchiveRequest_TAR, []string{".tar"}},
	} {
		for _, end := range f.ends {
			if strings.HasSuffix(name, end) {
				return f.format, true
			}
		}
	}
	return gitalypb.GetArchiveRequest_TAR_GZ, name == "archive"
}

// attachment is a Content-Disposition that saves under a name, in the form of the
// specification as long as the name needs no escapes (security-baseline.md H5).
func attachment(name string) string {
	special := func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }
	if !strings.ContainsFunc(name, special) {
		return `attachment; filename="` + name + `"`
	}
	if v := mime.FormatMediaType("attachment", map[string]string{"filename": name}); v != "" {
		return v
	}
	return "attachment"
}
