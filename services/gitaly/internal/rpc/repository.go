package rpc

import (
	"gitsplit/proto/go/gitalypb"
)

// Repository is RepositoryService.
type Repository struct {
	gitalypb.UnimplementedRepositoryServiceServer
	*Deps
}
