package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/archive"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/refname"
)

// repository is what an archive says of a project's repository, before its bundle and its custom hooks.
type repository struct {
	ID     int64  `json:"id"`
	Path   string `json:"path"`
	Branch string `json:"branch,omitempty"` // that HEAD means
	Empty  bool   `json:"empty,omitempty"`  // there is no bundle
	// Gone says that the project was removed while the backup was made, Missing that its repository could not be read.
	Gone    bool `json:"gone,omitempty"`
	Missing bool `json:"missing,omitempty"`
}

const (
	factsSuffix  = ".json"
	bundleSuffix = ".bundle"
	hooksSuffix  = ".hooks.tar"
)

func repositoryName(id int64, suffix string) string {
	return repositoryBegin + strconv.FormatInt(id, 10) + suffix
}

// repositories writes the repositories of projects, each where it is by now, and returns the paths of those that it had to leave out.
func (d Deps) repositories(ctx context.Context, out *archive.Writer, ids []int64, o Options) (missing []string, err error) {
	for i, id := range ids {
		p, err := project.New(d.DB).ByID(ctx, id)
		if errs.KindOf(err) == errs.NotFound || (err == nil && !p.Import.HasRepository()) { // a fork that is not whole is none
			err = out.AddJSON(repositoryName(id, factsSuffix), repository{ID: id, Gone: true})
			d.Tell("repository %d of %d: project %d is gone", i+1, len(ids), id)
		} else if err == nil {
			var size int64
			size, err = d.repository(ctx, out, p)
			d.Tell("repository %d of %d: %s, %s", i+1, len(ids), p.FullPath, Bytes(size))
		}
		var unread *unreadError
		if errors.As(err, &unread) && o.Broken {
			d.Tell("%v: left out", err)
			missing = append(missing, p.FullPath)
			err = out.AddJSON(repositoryName(id, factsSuffix), repository{ID: id, Path: p.FullPath, Missing: true})
		}
		if err != nil {
			return missing, err
		}
	}
	return missing, nil
}

// unreadError says that a repository could not even begin to be read.
type unreadError struct {
	path string
	err  error
}

// Error names the project and what stood in the way.
func (e *unreadError) Error() string {
	return fmt.Sprintf("the repository of %s cannot be read: %v", e.path, e.err)
}

// Unwrap returns the cause.
func (e *unreadError) Unwrap() error { return e.err }

func (d Deps) repository(ctx context.Context, out *archive.Writer, p project.Project) (size int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the streams
	facts := repository{ID: p.ID, Path: p.FullPath}
	if facts.Branch, err = d.Gitaly.DefaultBranch(ctx, p); err != nil {
		return 0, &unreadError{p.FullPath, err}
	}
	service, err := d.Gitaly.RepositoryService(p)
	if err != nil {
		return 0, err
	}
	bundle, err := openStream(func() (receiver, error) {
		s, err := service.CreateBundle(ctx, &gitalypb.CreateBundleRequest{Repository: gitaly.Repository(p)})
		return dataOf(s, err)
	})
	if facts.Empty = status.Code(err) == codes.FailedPrecondition; err != nil && !facts.Empty {
		return 0, &unreadError{p.FullPath, err}
	}
	hooks, err := openStream(func() (receiver, error) {
		s, err := service.GetCustomHooks(ctx, &gitalypb.GetCustomHooksRequest{Repository: gitaly.Repository(p)})
		return dataOf(s, err)
	})
	if err != nil && !errors.Is(err, io.EOF) { // without hooks the stream is empty
		return 0, &unreadError{p.FullPath, err}
	}
	if err := out.AddJSON(repositoryName(p.ID, factsSuffix), facts); err != nil {
		return 0, err
	}
	for _, part := range []struct {
		suffix  string
		content io.Reader
	}{{bundleSuffix, bundle}, {hooksSuffix, hooks}} {
		if part.content == nil {
			continue
		}
		n, err := out.Add(repositoryName(p.ID, part.suffix), part.content)
		if size += n; err != nil {
			return size, fmt.Errorf("the repository of %s: %w", p.FullPath, err)
		}
	}
	return size, nil
}

// receiver returns the next piece of a stream of bytes.
type receiver func() ([]byte, error)

type message interface{ GetData() []byte }

func dataOf[M message](s interface{ Recv() (M, error) }, err error) (receiver, error) {
	if err != nil {
		return nil, err
	}
	return func() ([]byte, error) {
		m, err := s.Recv()
		if err != nil {
			return nil, err
		}
		return m.GetData(), nil
	}, nil
}

// beginning is longer than what git writes of a bundle, its signature, before it finds that there is nothing to put into it.
const beginning = 64

// openStream waits for the beginning: with it comes whether the call is answered at all.
func openStream(open func() (receiver, error)) (io.Reader, error) {
	recv, err := open()
	if err != nil {
		return nil, err
	}
	var first []byte
	ended := false
	for len(first) < beginning && !ended {
		data, err := recv()
		if ended = errors.Is(err, io.EOF) && len(first) > 0; err != nil && !ended {
			return nil, err
		}
		first = append(first, data...)
	}
	begun := false
	return streamio.NewReader(func() ([]byte, error) {
		if !begun {
			begun = true
			return first, nil
		}
		if ended {
			return nil, io.EOF
		}
		return recv()
	}), nil
}

// restoreRepository makes the repository of a project, in place of what a restore left there that was broken off.
func (d Deps) restoreRepository(ctx context.Context, p project.Project, facts repository, bundle io.Reader) error {
	if err := d.Gitaly.Remove(ctx, p.Storage, p.DiskPath); err != nil {
		return err
	}
	if bundle == nil {
		if facts.Branch != "" {
			p.DefaultBranch = facts.Branch
		}
		return d.Gitaly.Create(ctx, p)
	}
	service, err := d.Gitaly.RepositoryService(p)
	if err != nil {
		return err
	}
	stream, err := service.CreateRepositoryFromBundle(ctx)
	if err != nil {
		return fmt.Errorf("restore the repository of %s: %w", p.FullPath, err)
	}
	first := gitaly.Repository(p)
	err = send(bundle, func(data []byte) error {
		err := stream.Send(&gitalypb.CreateRepositoryFromBundleRequest{Repository: first, Data: data})
		first = nil
		return err
	})
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	if err != nil {
		return fmt.Errorf("restore the repository of %s: %w", p.FullPath, err)
	}
	if branch := strings.TrimPrefix(facts.Branch, refname.Heads); branch != "" {
		return d.Gitaly.SetDefaultBranch(ctx, p, branch)
	}
	return nil
}

func (d Deps) restoreHooks(ctx context.Context, p project.Project, hooks io.Reader) error {
	service, err := d.Gitaly.RepositoryService(p)
	if err != nil {
		return err
	}
	stream, err := service.SetCustomHooks(ctx)
	if err != nil {
		return fmt.Errorf("restore the hooks of %s: %w", p.FullPath, err)
	}
	first := gitaly.Repository(p)
	err = send(hooks, func(data []byte) error {
		err := stream.Send(&gitalypb.SetCustomHooksRequest{Repository: first, Data: data})
		first = nil
		return err
	})
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	if err != nil {
		return fmt.Errorf("restore the hooks of %s: %w", p.FullPath, err)
	}
	return nil
}

// send cuts content into messages. When the server has ended the stream, its reason comes with the answer.
func send(content io.Reader, message func([]byte) error) error {
	_, err := io.Copy(streamio.NewWriter(message), content)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func absent(err error) bool { return errs.KindOf(err) == errs.NotFound }
