package gitaly

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"google.golang.org/grpc/metadata"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/rails-api/internal/project"
)

// serversKey is the metadata that tells one storage server where another is (wire/gitaly.md §3).
const serversKey = "gitaly-servers"

// Replicate makes the repository of to equal to that of from: references, HEAD, objects, custom hooks. They lie on different storages,
// and the server of to fetches from that of from, at the address and with the token that this client has. It takes as long as it takes.
func (c *Client) Replicate(ctx context.Context, from, to project.Project) error {
	source, err := c.Storage(from.Storage)
	if err != nil {
		return err
	}
	service, err := c.RepositoryService(to)
	if err != nil {
		return err
	}
	raw, err := json.Marshal(map[string]map[string]string{source.Name: {"address": source.Address, "token": source.Token}})
	if err != nil {
		return fmt.Errorf("gitaly: name the source: %w", err)
	}
	ctx = metadata.AppendToOutgoingContext(ctx, serversKey, base64.StdEncoding.EncodeToString(raw))
	_, err = service.ReplicateRepository(ctx, &gitalypb.ReplicateRepositoryRequest{Repository: Repository(to), Source: Repository(from)})
	if err != nil {
		return translate("replicate repository", err)
	}
	return nil
}

// Checksum condenses the references of a repository.
func (c *Client) Checksum(ctx context.Context, p project.Project) (string, error) {
	service, err := c.RepositoryService(p)
	if err != nil {
		return "", err
	}
	answer, err := call(ctx, "calculate checksum", listing, func(ctx context.Context) (*gitalypb.CalculateChecksumResponse, error) {
		return service.CalculateChecksum(ctx, &gitalypb.CalculateChecksumRequest{Repository: Repository(p)})
	})
	return answer.GetChecksum(), err
}

// Serves asks the server at an address whether it has a storage. It is errs.Invalid when it is another server, or does not answer.
func (c *Client) Serves(ctx context.Context, s Storage) error {
	conn, err := c.pool.Conn(s.Address, s.Token)
	if err != nil {
		return errs.Wrap(errs.Invalid, fmt.Sprintf("%s: %v", s.Address, err), err)
	}
	info, err := call(ctx, "server info", fast, func(ctx context.Context) (*gitalypb.ServerInfoResponse, error) {
		return gitalypb.NewServerServiceClient(conn).ServerInfo(ctx, &gitalypb.ServerInfoRequest{})
	})
	if err != nil {
		return errs.Wrap(errs.Invalid, fmt.Sprintf("there is no gitaly at %s that takes this token: %v", s.Address, err), err)
	}
	has := func(st *gitalypb.ServerInfoResponse_StorageStatus) bool {
		return st.GetStorageName() == s.Name && st.GetReadable() && st.GetWriteable()
	}
	if !slices.ContainsFunc(info.GetStorageStatuses(), has) {
		return errs.Newf(errs.Invalid, "the gitaly at %s has no storage %q that can be read and written", s.Address, s.Name)
	}
	return nil
}
