package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/protoadapt"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/backup"
)

// BackupRepository writes the repository to the server's backup directory.
func (s Repository) BackupRepository(ctx context.Context, req *gitalypb.BackupRepositoryRequest) (*gitalypb.BackupRepositoryResponse, error) {
	repo, err := s.repository(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	if req.GetBackupId() == "" {
		return nil, invalid("empty BackupId")
	}
	place, err := backupPlace(req.GetVanityRepository(), req.GetRepository())
	if err != nil {
		return nil, err
	}
	err = s.Backups.Create(ctx, repo, place, backup.Options{
		ID: req.GetBackupId(), Incremental: req.GetIncremental(), Base: req.GetLatestBackupId(),
	})
	if err != nil {
		return nil, backupFailed("backup repository: ", err, &gitalypb.BackupRepositoryResponse_SkippedError{})
	}
	return &gitalypb.BackupRepositoryResponse{}, nil
}

// RestoreRepository makes the repository what a backup says.
func (s Repository) RestoreRepository(ctx context.Context, req *gitalypb.RestoreRepositoryRequest) (*gitalypb.RestoreRepositoryResponse, error) {
	repo, err := s.place(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	place, err := backupPlace(req.GetVanityRepository(), req.GetRepository())
	if err != nil {
		return nil, err
	}
	id := req.GetBackupId()
	if req.GetUseLatest() {
		id = ""
	}
	if err := s.Backups.Restore(ctx, repo, place, id, req.GetAlwaysCreate()); err != nil {
		return nil, backupFailed("restore repository: ", err, &gitalypb.RestoreRepositoryResponse_SkippedError{})
	}
	s.Git.ForgetRepo(repo.Dir)
	return &gitalypb.RestoreRepositoryResponse{}, nil
}

// backupPlace is named by the vanity repository, or by the repository itself.
func backupPlace(vanity, repo *gitalypb.Repository) (backup.Place, error) {
	if vanity == nil {
		vanity = repo
	}
	return backup.NewPlace(vanity)
}

// backupFailed says of which action a failure is; one without anything to do has a
// detail.
func backupFailed(action string, err error, skipped protoadapt.MessageV1) error {
	text := errs.Message(err)
	switch {
	case errors.Is(err, backup.ErrSkipped):
		return detailed(codes.FailedPrecondition, action+text, skipped)
	case text != "":
		return errs.Wrap(errs.KindOf(err), action+text, err)
	}
	return err
}
