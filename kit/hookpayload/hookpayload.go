// Package hookpayload is what gitaly tells gitaly-hooks through git: one
// environment variable with base64 of JSON (wire/gitaly.md §6.2). The hook binary
// needs it too and must start within milliseconds, so this package imports
// nothing but the message types.
package hookpayload

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"gitsplit/proto/go/gitalypb"
	"google.golang.org/protobuf/encoding/protojson"
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

// Payload is the decoded value.
type Payload struct {
	RequestedHooks      Hook
	Repository          *gitalypb.Repository
	ObjectFormat        string // sha1 or sha256
	RuntimeDir          string
	InternalSocket      string // a path, without scheme
	InternalSocketToken string
	UserDetails         *UserDetails
	ClientContext       []byte // metadata gitaly-client-context-bin of the push
}

// wire is the JSON form. The repository is protojson text inside a string; keys
// of features that this project does not have are written as GitLab writes their
// absence and ignored on reading.
type wire struct {
	RequestedHooks      Hook            `json:"requested_hooks"`
	Repository          string          `json:"repository"`
	ObjectFormat        string          `json:"object_format"`
	RuntimeDir          string          `json:"runtime_dir"`
	InternalSocket      string          `json:"internal_socket"`
	InternalSocketToken string          `json:"internal_socket_token"`
	Transaction         json.RawMessage `json:"transaction"`
	UserDetails         *UserDetails    `json:"user_details"`
	ClientContext       []byte          `json:"gitaly_client_context,omitempty"`
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
	repo, err := protojson.Marshal(p.Repository)
	if err != nil {
		return "", fmt.Errorf("encode hook payload: %w", err)
	}
	raw, err := json.Marshal(wire{
		RequestedHooks: p.RequestedHooks, Repository: string(repo), ObjectFormat: p.ObjectFormat,
		RuntimeDir: p.RuntimeDir, InternalSocket: p.InternalSocket, InternalSocketToken: p.InternalSocketToken,
		Transaction: json.RawMessage("null"), UserDetails: p.UserDetails, ClientContext: p.ClientContext,
		LogFields: json.RawMessage("null"),
	})
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
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return Payload{}, errors.New("hook payload is not the expected JSON")
	}
	repo := &gitalypb.Repository{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(w.Repository), repo); err != nil {
		return Payload{}, errors.New("hook payload names no repository")
	}
	return Payload{
		RequestedHooks: w.RequestedHooks, Repository: repo, ObjectFormat: w.ObjectFormat,
		RuntimeDir: w.RuntimeDir, InternalSocket: w.InternalSocket, InternalSocketToken: w.InternalSocketToken,
		UserDetails: w.UserDetails, ClientContext: w.ClientContext,
	}, nil
}
