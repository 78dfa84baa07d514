package githttp

import (
	"context"
	"encoding/json"
	"strings"

	"google.golang.org/grpc/metadata"

	"gitsplit/services/workhorse/internal/header"
	"gitsplit/services/workhorse/internal/preauth"
)

// withCaller adds the metadata by which gitaly knows whom it serves
// (wire/workhorse.md §2.3, GitalyServer; wire/gitaly.md §3).
func withCaller(ctx context.Context, a *preauth.Answer) context.Context {
	var pairs []string
	for key, value := range a.GitalyServer.CallMetadata {
		key = strings.ToLower(key)
		if passesOn(key) && printable(value) {
			pairs = append(pairs, key, value)
		}
	}
	if a.GitalyServer.CallMetadata["remote_ip"] == "" {
		if ip := header.RemoteIP(ctx); ip != "" {
			pairs = append(pairs, "remote_ip", ip)
		}
	}
	return metadata.AppendToOutgoingContext(ctx, pairs...)
}

func passesOn(key string) bool {
	switch key {
	case "user_id", "username", "remote_ip":
		return true
	}
	return strings.HasPrefix(key, "gitaly-feature-")
}

// printable reports whether gRPC can carry the value as text.
func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != ""
}

// clientContext is what gitaly gives back to rails-api in the calls of a push's
// hooks.
type clientContext struct {
	ScopedUserID string `json:"scoped-user-id,omitempty"`
	BuildID      string `json:"glBuildId,omitempty"`
}

func withClientContext(ctx context.Context, a *preauth.Answer) (context.Context, error) {
	c := clientContext{ScopedUserID: a.GlScopedUserID, BuildID: a.GlBuildID}
	if c == (clientContext{}) {
		return ctx, nil
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "gitaly-client-context-bin", string(raw)), nil
}
