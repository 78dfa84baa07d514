package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/clone"
	"gitsplit/services/gitaly/internal/pack"
	"gitsplit/services/gitaly/internal/ref"
	"gitsplit/services/gitaly/internal/remote"
	"gitsplit/services/gitaly/internal/storage"
)

// dataMessage is a message of a stream that brings a file.
type dataMessage interface{ GetData() []byte }

// spool writes the file that a stream brings to the disk; first has been received.
// The caller removes it.
func spool[M dataMessage](st *storage.Storage, first M, recv func() (M, error)) (*storage.Temp, error) {
	file, err := st.CreateTemp()
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(first.GetData()); err == nil {
		_, err = io.Copy(file, streamio.NewReader(func() ([]byte, error) {
			m, err := recv()
			if err != nil {
				return nil, err
			}
			return m.GetData(), nil
		}))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("receive file: %w", err), file.Remove())
	}
	return file, nil
}

// receiveBundle is spool for a bundle, which done removes.
func receiveBundle[M dataMessage](st *storage.Storage, first M, recv func() (M, error)) (_ remote.Bundle, done func(), err error) {
	file, err := spool(st, first, recv)
	if err != nil {
		return remote.Bundle{}, nil, err
	}
	done = func() { _ = file.Remove() }
	bundle, err := remote.OpenBundle(file.Path())
	if err != nil {
		done()
	}
	return bundle, done, err
}

// CreateRepositoryFromBundle makes a repository from a bundle.
func (s Repository) CreateRepositoryFromBundle(stream gitalypb.RepositoryService_CreateRepositoryFromBundleServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	repo, err := s.place(stream.Context(), first.GetRepository())
	if err != nil {
		return err
	}
	bundle, done, err := receiveBundle(repo.Storage, first, stream.Recv)
	if err != nil {
		return err
	}
	defer done()
	if err := s.Clones.From(stream.Context(), repo, bundle, clone.Options{Everything: true}); err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.CreateRepositoryFromBundleResponse{})
}

// FetchBundle brings references up to date with a bundle, all or none.
func (s Repository) FetchBundle(stream gitalypb.RepositoryService_FetchBundleServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	ctx, began := stream.Context(), s.Now()
	repo, err := s.standing(ctx, first.GetRepository())
	if err != nil {
		return err
	}
	bundle, done, err := receiveBundle(repo.Storage, first, stream.Recv)
	if err != nil {
		return err
	}
	defer done()
	err = s.Remotes.Fetch(ctx, &repo.Repo, bundle, remote.FetchOptions{Refspecs: []string{"+refs/*:refs/*"}, Atomic: true})
	if err == nil && first.GetUpdateHead() {
		err = s.headFromBundle(ctx, repo, bundle)
	}
	if err := errors.Join(err, pack.SyncChanged(repo.Dir, began)); err != nil {
		return err
	}
	return stream.SendAndClose(&gitalypb.FetchBundleResponse{})
}

// headFromBundle points HEAD at a branch that is where the bundle's HEAD is, the
// present one if it can be.
func (s Repository) headFromBundle(ctx context.Context, repo *storage.Repo, bundle remote.Bundle) error {
	present, err := ref.Head(ctx, s.Git, &repo.Repo)
	if err != nil {
		return err
	}
	head, err := s.Remotes.GuessHead(ctx, bundle, present, ref.Branches+"main", ref.Branches+"master")
	if err != nil || head == "" || head == present {
		return err
	}
	return ref.SetHead(ctx, s.Git, &repo.Repo, head)
}
