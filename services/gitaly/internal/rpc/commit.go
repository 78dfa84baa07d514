package rpc

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/proto/go/gitalypb"
)

// Commit is CommitService.
type Commit struct {
	gitalypb.UnimplementedCommitServiceServer
	*Deps
}

// timeOf is the zero time for a timestamp that is not set.
func timeOf(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

// texts turns byte strings into strings.
func texts(in [][]byte) []string {
	out := make([]string, 0, len(in))
	for _, b := range in {
		out = append(out, string(b))
	}
	return out
}
