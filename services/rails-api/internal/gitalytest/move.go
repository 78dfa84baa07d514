package gitalytest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// Network is several servers, by the name of the storage that each has; it is a gitaly.Pool whose addresses are those names.
type Network map[string]*Server

// Conn returns the connection to the server of a storage.
func (n Network) Conn(address, _ string) (*grpc.ClientConn, error) {
	s, ok := n[address]
	if !ok {
		return nil, fmt.Errorf("no server %q", address)
	}
	return s.conn, nil
}

// ReplicateRepository copies from the server that the metadata names, out of Peers, once Replicating has let it.
func (s *Server) ReplicateRepository(ctx context.Context, in *gitalypb.ReplicateRepositoryRequest) (*gitalypb.ReplicateRepositoryResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	var servers map[string]struct{ Address string }
	for _, text := range md.Get("gitaly-servers") {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(raw, &servers) != nil {
			return nil, status.Error(codes.InvalidArgument, "gitaly-servers")
		}
	}
	source := s.Peers[servers[in.GetSource().GetStorageName()].Address]
	if source == nil {
		return nil, status.Error(codes.InvalidArgument, "the server of the source storage is not named")
	}
	copied := source.Repository(in.GetSource().GetRelativePath())
	if copied == nil {
		return nil, status.Error(codes.NotFound, "invalid source repository")
	}
	if s.Replicating != nil {
		if err := s.Replicating(ctx); err != nil {
			return nil, err
		}
	}
	s.Lock()
	defer s.Unlock()
	if s.Fail != nil {
		return nil, s.Fail
	}
	copied.Pool = "" // all objects came
	s.Repositories[in.GetRepository().GetRelativePath()] = copied
	return &gitalypb.ReplicateRepositoryResponse{}, nil
}

// CalculateChecksum condenses the references.
func (s *Server) CalculateChecksum(_ context.Context, in *gitalypb.CalculateChecksumRequest) (*gitalypb.CalculateChecksumResponse, error) {
	s.Lock()
	defer s.Unlock()
	r, err := s.find(in.GetRepository())
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(r.OIDs)) {
		_, _ = fmt.Fprintln(sum, name, r.OIDs[name])
	}
	return &gitalypb.CalculateChecksumResponse{Checksum: hex.EncodeToString(sum.Sum(nil))}, nil
}

// ServerInfo tells the storages.
func (s *Server) ServerInfo(context.Context, *gitalypb.ServerInfoRequest) (*gitalypb.ServerInfoResponse, error) {
	s.Lock()
	defer s.Unlock()
	return &gitalypb.ServerInfoResponse{StorageStatuses: []*gitalypb.ServerInfoResponse_StorageStatus{
		{StorageName: s.Storage, Readable: true, Writeable: true},
	}}, s.Fail
}
