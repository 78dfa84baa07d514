package app_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// TestSHA256 moves, lists and reads references and commits with the longer ids.
func TestSHA256(t *testing.T) {
	t.Parallel()
	x := content{bundle: setup(t), repo: repository("long.git")}
	x.dir, x.c = filepath.Join(x.bundle.dir, "long.git"), x.client(t)
	_, err := gitalypb.NewRepositoryServiceClient(x.conn).CreateRepository(t.Context(), &gitalypb.CreateRepositoryRequest{
		Repository: x.repo, DefaultBranch: []byte("knot"), ObjectFormat: gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256,
	})
	if err != nil {
		t.Fatal(err)
	}
	history := strings.ReplaceAll(knot, strings.Repeat("1", 40), strings.Repeat("1", 64))
	x.plumb(t, history, "fast-import", "--quiet")
	tip, side := x.plumb(t, "", "rev-parse", "knot"), x.plumb(t, "", "rev-parse", "side")
	refs, commits, ctx := gitalypb.NewRefServiceClient(x.conn), gitalypb.NewCommitServiceClient(x.conn), t.Context()

	zero := strings.Repeat("0", 64)
	if err := x.updateReferences(t, moves{move("refs/heads/new", zero, tip), move("refs/heads/side", side, tip)}); err != nil {
		t.Errorf("UpdateReferences: %v", err)
	}
	if err := x.updateReferences(t, moves{move("refs/heads/new", side, side)}); status.Code(err) != codes.Aborted {
		t.Errorf("UpdateReferences from another state: %v", err)
	}
	if err := x.updateReferences(t, moves{move("refs/heads/x", "", strings.Repeat("1", 40))}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("UpdateReferences with a short id: %v", err)
	}
	found, err := refs.FindRefsByOID(ctx, &gitalypb.FindRefsByOIDRequest{Repository: x.repo, Oid: tip})
	if want := []string{"refs/heads/knot", "refs/heads/new", "refs/heads/side"}; err != nil || !slices.Equal(found.GetRefs(), want) {
		t.Errorf("FindRefsByOID = %v, %v", found, err)
	}
	if got := ids(all(t, ignore(commits.ListAllCommits(ctx, &gitalypb.ListAllCommitsRequest{Repository: x.repo})), nil)); len(got) != 9 || len(got[0]) != 64 {
		t.Errorf("ListAllCommits = %q", got)
	}
	for _, m := range all(t, ignore(commits.ListLastCommitsForTree(ctx, &gitalypb.ListLastCommitsForTreeRequest{Repository: x.repo, Revision: tip, Path: []byte("d/"), Limit: 10})), nil) {
		for _, c := range m.GetCommits() {
			if want := x.plumb(t, "", "log", "-1", "--format=%H", tip, "--", string(c.GetPathBytes())); c.GetCommit().GetId() != want {
				t.Errorf("%s was changed by %s, git says %s", c.GetPathBytes(), c.GetCommit().GetId(), want)
			}
		}
	}
	signed := x.plumb(t, "tree "+x.plumb(t, "", "rev-parse", "knot^{tree}")+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\ngpgsig short\ngpgsig-sha256 long\n\nm\n",
		"hash-object", "-t", "commit", "-w", "--stdin")
	messages := all(t, ignore(commits.GetCommitSignatures(ctx, &gitalypb.GetCommitSignaturesRequest{Repository: x.repo, CommitIds: []string{signed}})), nil)
	if len(messages) != 2 || string(messages[0].GetSignature()) != "long\n" || strings.Contains(string(messages[1].GetSignedText()), "gpgsig") {
		t.Errorf("GetCommitSignatures = %v", messages)
	}
}
