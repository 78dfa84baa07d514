package rpc

import (
	"context"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/license"
)

// FindLicense recognises the license in the files of the default branch.
func (s Repository) FindLicense(ctx context.Context, req *gitalypb.FindLicenseRequest) (*gitalypb.FindLicenseResponse, error) {
	_, objects, err := s.objects(ctx, req.GetRepository())
	if err != nil {
		return nil, err
	}
	defer func() { _ = objects.Close() }()
	found, err := license.Find(objects, "HEAD")
	if err != nil {
		return nil, err
	}
	return &gitalypb.FindLicenseResponse{
		LicenseShortName: found.ShortName, LicenseName: found.Name, LicenseUrl: found.URL,
		LicensePath: found.Path, LicenseNickname: found.Nickname,
	}, nil
}
