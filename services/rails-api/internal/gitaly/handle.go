package gitaly

import (
	wire "gitsplit/kit/internalapi"
	"gitsplit/services/rails-api/internal/project"
)

// Handle is how workhorse reaches the server of a storage, and what it tells it
// about the caller (wire/workhorse.md §2.3, GitalyServer).
type Handle struct {
	Address      string            `json:"address"`
	Token        string            `json:"token"`
	CallMetadata map[string]string `json:"call_metadata"`
}

// Caller is who asks; what is not known is "".
type Caller struct{ ID, Username, Address string }

// Handle returns the handle of a storage for a caller.
func (c *Client) Handle(storage string, who Caller) (Handle, error) {
	s, err := c.Storage(storage)
	if err != nil {
		return Handle{}, err
	}
	h := Handle{Address: s.Address, Token: s.Token, CallMetadata: map[string]string{}}
	for key, value := range map[string]string{"user_id": who.ID, "username": who.Username, "remote_ip": who.Address} {
		if value != "" {
			h.CallMetadata[key] = value
		}
	}
	return h, nil
}

// WireRepository names the repository of a project to workhorse.
func WireRepository(p project.Project) wire.Repository {
	return wire.Repository{
		StorageName: p.Storage, RelativePath: p.DiskPath, GitAlternateObjectDirectories: []string{},
		GLRepository: p.GLRepository(), GLProjectPath: p.FullPath,
	}
}
