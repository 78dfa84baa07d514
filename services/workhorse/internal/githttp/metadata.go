package githttp

import (
	"context"
	"encoding/json"

	"google.golang.org/grpc/metadata"

	"gitsplit/services/workhorse/internal/preauth"
)

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
