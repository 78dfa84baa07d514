package rpc

import (
	"context"
	"maps"
	"slices"
	"time"

	"gitsplit/proto/go/gitalypb"
)

// Server is ServerService. ServerSignature is not offered: this server signs
// nothing.
type Server struct {
	gitalypb.UnimplementedServerServiceServer
	*Deps
}

// ServerInfo describes the server and its storages.
func (s Server) ServerInfo(_ context.Context, _ *gitalypb.ServerInfoRequest) (*gitalypb.ServerInfoResponse, error) {
	resp := &gitalypb.ServerInfoResponse{ServerVersion: s.Version, GitVersion: s.Git.Version().String()}
	for _, st := range s.Locator.Storages() {
		_, _, diskErr := st.Disk()
		resp.StorageStatuses = append(resp.StorageStatuses, &gitalypb.ServerInfoResponse_StorageStatus{
			StorageName: st.Name, Readable: diskErr == nil, Writeable: st.Writable() == nil,
			FsType: st.Filesystem(), FilesystemId: st.FilesystemID, ReplicationFactor: 1,
		})
	}
	return resp, nil
}

// DiskStatistics returns the space of each storage.
func (s Server) DiskStatistics(_ context.Context, _ *gitalypb.DiskStatisticsRequest) (*gitalypb.DiskStatisticsResponse, error) {
	resp := &gitalypb.DiskStatisticsResponse{}
	for _, st := range s.Locator.Storages() {
		available, used, err := st.Disk()
		if err != nil {
			return nil, err
		}
		resp.StorageStatuses = append(resp.StorageStatuses, &gitalypb.DiskStatisticsResponse_StorageStatus{
			StorageName: st.Name, Available: available, Used: used,
		})
	}
	return resp, nil
}

// maxReadiness bounds the checks whatever the request says.
const maxReadiness = time.Minute

// ReadinessCheck runs the checks of the readiness probe now.
func (s Server) ReadinessCheck(ctx context.Context, req *gitalypb.ReadinessCheckRequest) (*gitalypb.ReadinessCheckResponse, error) {
	timeout := maxReadiness
	if d := req.GetTimeout(); d != nil {
		if timeout = d.AsDuration(); timeout <= 0 || timeout > maxReadiness {
			return nil, invalid("timeout is out of range")
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	failed := s.Ready(ctx)
	if len(failed) == 0 {
		return &gitalypb.ReadinessCheckResponse{Result: &gitalypb.ReadinessCheckResponse_OkResponse{
			OkResponse: &gitalypb.ReadinessCheckResponse_Ok{},
		}}, nil
	}
	failure := &gitalypb.ReadinessCheckResponse_Failure{}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		failure.FailedChecks = append(failure.FailedChecks, &gitalypb.ReadinessCheckResponse_Failure_Response{
			Name: name, ErrorMessage: failed[name].Error(),
		})
	}
	return &gitalypb.ReadinessCheckResponse{Result: &gitalypb.ReadinessCheckResponse_FailureResponse{FailureResponse: failure}}, nil
}
