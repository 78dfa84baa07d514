// Package hookpayload is what gitaly tells gitaly-hooks through git: one
// environment variable with base64 of JSON (wire/gitaly.md §6.2). The hook program
// itself reads it with package plain.
package hookpayload

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"

	"gitsplit/kit/hookpayload/plain"
	"gitsplit/proto/go/gitalypb"
)

// EnvKey is the environment variable that holds the payload.
const EnvKey = plain.EnvKey

// Hook is a set of hooks, one bit each.
type Hook = plain.Hook

// The hooks' bits, and the set of receive-pack.
const (
	ReferenceTransaction = plain.ReferenceTransaction
	Update               = plain.Update
	PreReceive           = plain.PreReceive
	PostReceive          = plain.PostReceive
	PackObjects          = plain.PackObjects
	ProcReceive          = plain.ProcReceive
	ReceivePack          = plain.ReceivePack
)

// UserDetails says who pushes.
type UserDetails = plain.UserDetails

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

// Has reports whether the hook was asked for; a hook that was not does nothing.
func (p Payload) Has(h Hook) bool { return plain.Payload{RequestedHooks: p.RequestedHooks}.Has(h) }

// Env returns the payload as a "KEY=value" environment entry.
func (p Payload) Env() (string, error) {
	repo, err := protojson.Marshal(p.Repository)
	if err != nil {
		return "", fmt.Errorf("encode hook payload: %w", err)
	}
	return plain.Payload{
		RequestedHooks: p.RequestedHooks, Repository: string(repo), ObjectFormat: p.ObjectFormat,
		RuntimeDir: p.RuntimeDir, InternalSocket: p.InternalSocket, InternalSocketToken: p.InternalSocketToken,
		Transaction: json.RawMessage("null"), UserDetails: p.UserDetails, ClientContext: p.ClientContext,
		LogFields: json.RawMessage("null"),
	}.Env()
}

// FromEnv finds the payload in an environment and decodes it. As in a shell, the
// last of several entries wins.
func FromEnv(environ []string) (Payload, error) { return whole(plain.FromEnv(environ)) }

// Decode reads the variable's value. Errors never quote it: it holds a token.
func Decode(value string) (Payload, error) { return whole(plain.Decode(value)) }

func whole(p plain.Payload, err error) (Payload, error) {
	if err != nil {
		return Payload{}, err
	}
	repo := &gitalypb.Repository{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal([]byte(p.Repository), repo); err != nil {
		return Payload{}, plain.ErrRepository
	}
	return Payload{
		RequestedHooks: p.RequestedHooks, Repository: repo, ObjectFormat: p.ObjectFormat,
		RuntimeDir: p.RuntimeDir, InternalSocket: p.InternalSocket, InternalSocketToken: p.InternalSocketToken,
		UserDetails: p.UserDetails, ClientContext: p.ClientContext,
	}, nil
}
