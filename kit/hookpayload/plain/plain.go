// Package plain is the payload of a hook without the message types, which cost the hook
// program a millisecond at each of its starts: the repository stays the text that it is
// on the wire.
package plain

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// EnvKey is the environment variable that holds the payload.
const EnvKey = "GITALY_HOOKS_PAYLOAD"

// maxSize bounds what Decode reads: the payload travels in an environment
// variable, which Linux limits to 128 KiB.
const maxSize = 128 << 10

// Hook is a set of hooks, one bit each.
type Hook uint

// The hooks' bits.
const (
	ReferenceTransaction Hook = 1 << iota
	Update
	PreReceive
	PostReceive
	PackObjects
	ProcReceive
)

// Sets in use: those of receive-pack, and what a payload without a set means.
const (
	ReceivePack = ReferenceTransaction | Update | PreReceive | PostReceive
	all         = ReceivePack | PackObjects
)

// UserDetails says who pushes.
type UserDetails struct {
	Username string `json:"username"`
	UserID   string `json:"userid"`   // the gl_id: key-7, user-1 or username-x
	Protocol string `json:"protocol"` // ssh, http or web
	RemoteIP string `json:"remote_ip"`
}

// Payload is the JSON form. Keys of features that this project does not have are
// written as GitLab writes their absence and ignored on reading.
type Payload struct {
	RequestedHooks      Hook            `json:"requested_hooks"`
	Repository          string          `json:"repository"`    // protojson of a gitaly.Repository
	ObjectFormat        string          `json:"object_format"` // sha1 or sha256
	RuntimeDir          string          `json:"runtime_dir"`
	InternalSocket      string          `json:"internal_socket"` // a path, without scheme
	InternalSocketToken string          `json:"internal_socket_token"`
	Transaction         json.RawMessage `json:"transaction"`
	UserDetails         *UserDetails    `json:"user_details"`
	ClientContext       []byte          `json:"gitaly_client_context,omitempty"` // metadata gitaly-client-context-bin of the push
	LogFields           json.RawMessage `json:"LogFields"`
}

// Has reports whether the hook was asked for; a hook that was not does nothing.
func (p Payload) Has(h Hook) bool {
	set := p.RequestedHooks
	if set == 0 {
		set = all
	}
	return set&h != 0
}

// Env returns the payload as a "KEY=value" environment entry.
func (p Payload) Env() (string, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("encode hook payload: %w", err)
	}
	return EnvKey + "=" + base64.StdEncoding.EncodeToString(raw), nil
}

// FromEnv finds the payload in an environment and decodes it. As in a shell, the
// last of several entries wins.
func FromEnv(environ []string) (Payload, error) {
	for i := len(environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(environ[i], EnvKey+"="); ok {
			return Decode(value)
		}
	}
	return Payload{}, errors.New("no hook payload in the environment")
}

// Decode reads the variable's value. Errors never quote it: it holds a token.
func Decode(value string) (Payload, error) {
	if len(value) > maxSize {
		return Payload{}, errors.New("hook payload is too long")
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return Payload{}, errors.New("hook payload is not base64")
	}
	var p Payload
	if err := json.Unmarshal(raw, &p); err != nil {
		return Payload{}, errors.New("hook payload is not the expected JSON")
	}
	return p, nil
}

// ErrRepository is a payload whose repository cannot be read.
var ErrRepository = errors.New("hook payload names no repository")

// Repository is a gitaly.Repository.
type Repository struct {
	StorageName, RelativePath     string
	GitObjectDirectory            string
	GitAlternateObjectDirectories []string
	GLRepository, GLProjectPath   string
}

// RepositoryMessage reads the repository. protojson takes both names of a field, and so
// does this; like it, it does not mind fields that it does not know.
func (p Payload) RepositoryMessage() (Repository, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(p.Repository), &fields); err != nil {
		return Repository{}, ErrRepository
	}
	var r Repository
	for _, f := range []struct {
		names [2]string
		into  any
	}{
		{[2]string{"storageName", "storage_name"}, &r.StorageName},
		{[2]string{"relativePath", "relative_path"}, &r.RelativePath},
		{[2]string{"gitObjectDirectory", "git_object_directory"}, &r.GitObjectDirectory},
		{[2]string{"gitAlternateObjectDirectories", "git_alternate_object_directories"}, &r.GitAlternateObjectDirectories},
		{[2]string{"glRepository", "gl_repository"}, &r.GLRepository},
		{[2]string{"glProjectPath", "gl_project_path"}, &r.GLProjectPath},
	} {
		for _, name := range f.names {
			if raw, ok := fields[name]; ok && json.Unmarshal(raw, f.into) != nil {
				return Repository{}, ErrRepository
			}
		}
	}
	return r, nil
}
