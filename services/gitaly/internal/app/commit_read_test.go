package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// plumb runs git in the repository itself, with some input.
func (x content) plumb(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", append([]string{"--git-dir", x.dir}, args...)...)
	cmd.Env, cmd.Stdin, cmd.Stderr = x.c.env, strings.NewReader(stdin), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// ids collects the ids of commits that come in messages of any kind.
func ids[M interface{ GetCommits() []*gitalypb.GitCommit }](messages []M) (out []string) {
	for _, m := range messages {
		for _, c := range m.GetCommits() {
			out = append(out, c.GetId())
		}
	}
	return out
}

func TestCommitService_histories(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	both := []string{x.second, x.first}
	for _, tc := range []struct {
		name string
		req  *gitalypb.FindAllCommitsRequest
		want []string
		code codes.Code
	}{
		{"all branches", &gitalypb.FindAllCommitsRequest{}, both, codes.OK},
		{"one branch", &gitalypb.FindAllCommitsRequest{Revision: []byte("old"), Order: gitalypb.FindAllCommitsRequest_TOPO}, []string{x.first}, codes.OK},
		{"page", &gitalypb.FindAllCommitsRequest{MaxCount: 1, Skip: 1, Order: gitalypb.FindAllCommitsRequest_DATE}, []string{x.first}, codes.OK},
		{"option", &gitalypb.FindAllCommitsRequest{Revision: []byte("--all")}, nil, codes.InvalidArgument},
		{"none", &gitalypb.FindAllCommitsRequest{Revision: []byte("none")}, nil, codes.NotFound},
	} {
		tc.req.Repository = x.repo
		got, err := drain(ignore(commits.FindAllCommits(ctx, tc.req)))
		if diff := cmp.Diff(tc.want, ids(got)); status.Code(err) != tc.code || diff != "" {
			t.Errorf("FindAllCommits, %s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	for _, tc := range []struct {
		name string
		req  *gitalypb.CommitsByMessageRequest
		want []string
		code codes.Code
	}{
		{"default branch", &gitalypb.CommitsByMessageRequest{Query: "SECOND"}, []string{x.second}, codes.OK},
		{"pattern", &gitalypb.CommitsByMessageRequest{Query: "^ad.*", Revision: []byte("main"), Path: []byte("README")}, []string{x.first}, codes.OK},
		{"page", &gitalypb.CommitsByMessageRequest{Query: "[ad]d", Offset: 1, Limit: 3}, nil, codes.OK},
		{"looks like an option", &gitalypb.CommitsByMessageRequest{Query: "--all"}, nil, codes.OK},
		{"no query", &gitalypb.CommitsByMessageRequest{}, nil, codes.InvalidArgument},
		{"NUL", &gitalypb.CommitsByMessageRequest{Query: "a\x00"}, nil, codes.InvalidArgument},
		{"option", &gitalypb.CommitsByMessageRequest{Query: "x", Revision: []byte("--all")}, nil, codes.InvalidArgument},
	} {
		tc.req.Repository = x.repo
		got, err := drain(ignore(commits.CommitsByMessage(ctx, tc.req)))
		if diff := cmp.Diff(tc.want, ids(got)); status.Code(err) != tc.code || diff != "" {
			t.Errorf("CommitsByMessage, %s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	empty := repository("empty.git")
	x.create(t, "empty.git")
	if got := all(t, ignore(commits.FindAllCommits(ctx, &gitalypb.FindAllCommitsRequest{Repository: empty})), nil); len(got) != 0 {
		t.Errorf("FindAllCommits without any: %v", got)
	}
	if got := all(t, ignore(commits.CommitsByMessage(ctx, &gitalypb.CommitsByMessageRequest{Repository: empty, Query: "x"})), nil); len(got) != 0 {
		t.Errorf("CommitsByMessage without any: %v", got)
	}
}

func TestCommitService_named(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	none := strings.Repeat("1", 40)
	got := all(t, ignore(commits.ListCommitsByOid(ctx, &gitalypb.ListCommitsByOidRequest{Repository: x.repo, Oid: []string{x.first, none, x.second[:9], x.tagged}})), nil)
	if diff := cmp.Diff([]string{x.first, x.second, x.first}, ids(got)); diff != "" {
		t.Errorf("ListCommitsByOid (-want +got):\n%s", diff)
	}
	var named []string
	for _, m := range all(t, ignore(commits.ListCommitsByRefName(ctx, &gitalypb.ListCommitsByRefNameRequest{Repository: x.repo,
		RefNames: [][]byte{[]byte("refs/heads/main"), []byte("refs/heads/none"), []byte("refs/tags/heavy"), []byte("refs/heads/\xff")}})), nil) {
		for _, c := range m.GetCommitRefs() {
			named = append(named, string(c.GetRefName())+" "+c.GetCommit().GetId())
		}
	}
	if diff := cmp.Diff([]string{"refs/heads/main " + x.second, "refs/tags/heavy " + x.first}, named); diff != "" {
		t.Errorf("ListCommitsByRefName (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "-x", "a b", "a\nb", "a\x00", "main:README", strings.Repeat("a", 1<<20)} {
		_, err := drain(ignore(commits.ListCommitsByRefName(ctx, &gitalypb.ListCommitsByRefNameRequest{Repository: x.repo, RefNames: [][]byte{[]byte(bad)}})))
		_, oidErr := drain(ignore(commits.ListCommitsByOid(ctx, &gitalypb.ListCommitsByOidRequest{Repository: x.repo, Oid: []string{bad}})))
		if status.Code(err) != codes.InvalidArgument || status.Code(oidErr) != codes.InvalidArgument {
			t.Errorf("%.20q: %v, %v", bad, err, oidErr)
		}
	}
}

func TestCommitService_CountDivergingCommits(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.c.git(t, "checkout", "-q", "old")
	x.c.commit(t, "a", "a")
	x.c.commit(t, "b", "b")
	x.c.git(t, "push", "-q", remote(rel), "old")
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	for _, tc := range []struct {
		from, to    string
		limit       int32
		left, right int32
		code        codes.Code
	}{
		{"main", "old", 0, 1, 2, codes.OK}, {"old", "refs/heads/main", 0, 2, 1, codes.OK}, {"main", x.second, 0, 0, 0, codes.OK}, {"old", x.first, 1, 1, 0, codes.OK},
		{"", "old", 0, 0, 0, codes.InvalidArgument}, {"old", "--all", 0, 0, 0, codes.InvalidArgument}, {"none", "old", 0, 0, 0, codes.NotFound},
		{"main...old", "old", 0, 0, 0, codes.NotFound},
	} {
		got, err := commits.CountDivergingCommits(ctx, &gitalypb.CountDivergingCommitsRequest{Repository: x.repo, From: []byte(tc.from), To: []byte(tc.to), MaxCount: tc.limit})
		if status.Code(err) != tc.code || got.GetLeftCount() != tc.left || got.GetRightCount() != tc.right {
			t.Errorf("%s and %s: %v, %v", tc.from, tc.to, got, err)
		}
	}
}

// TestCommitService_pages walks all commits page by page, in both ways there are.
func TestCommitService_pages(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	loose := x.plumb(t, "", "commit-tree", "-m", "reachable from nothing", x.first+"^{tree}")
	everything := []string{x.first, x.second, loose}
	slices.Sort(everything)
	var walked []string
	for range 4 {
		params := &gitalypb.PaginationParameter{Limit: 1}
		if len(walked) > 0 {
			params.PageToken = walked[len(walked)-1]
		}
		walked = append(walked, ids(all(t, ignore(commits.ListAllCommits(ctx, &gitalypb.ListAllCommitsRequest{Repository: x.repo, PaginationParams: params})), nil))...)
	}
	whole := ids(all(t, ignore(commits.ListAllCommits(ctx, &gitalypb.ListAllCommitsRequest{Repository: x.repo})), nil))
	if diff := cmp.Diff([][]string{everything, everything}, [][]string{walked, whole}); diff != "" {
		t.Errorf("ListAllCommits (-want +got):\n%s", diff)
	}
	walked = nil
	for token := ""; ; {
		req := &gitalypb.ListCommitsRequest{Repository: x.repo, Revisions: []string{"--branches"}, PaginationParams: &gitalypb.PaginationParameter{Limit: 1, PageToken: token}}
		messages := all(t, ignore(commits.ListCommits(ctx, req)), nil)
		walked = append(walked, ids(messages)...)
		if token = messages[len(messages)-1].GetPaginationCursor().GetNextCursor(); token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{x.second, x.first}, walked); diff != "" {
		t.Errorf("ListCommits (-want +got):\n%s", diff)
	}
	gone := &gitalypb.PaginationParameter{PageToken: "gone", Limit: 1}
	_, err := drain(ignore(commits.ListAllCommits(ctx, &gitalypb.ListAllCommitsRequest{Repository: x.repo, PaginationParams: gone})))
	_, listErr := drain(ignore(commits.ListCommits(ctx, &gitalypb.ListCommitsRequest{Repository: x.repo, Revisions: []string{"main"}, PaginationParams: gone})))
	if status.Code(err) != codes.InvalidArgument || status.Code(listErr) != codes.InvalidArgument {
		t.Errorf("unknown page token: %v, %v", err, listErr)
	}
}

// withManyCommits adds a branch of 20,000 commits.
func (x content) withManyCommits(t *testing.T) {
	t.Helper()
	var in strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&in, "commit refs/heads/many\ncommitter C <c@example.com> %d +0000\ndata 100\n%0100d\n", 1_000_000+i, i)
	}
	x.plumb(t, in.String(), "fast-import", "--quiet")
}

// TestCommitService_manyCommits: a long history comes in several messages, and a
// client that leaves in its middle leaves no git behind.
func TestCommitService_manyCommits(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.withManyCommits(t)
	commits := gitalypb.NewCommitServiceClient(x.conn)
	messages := all(t, ignore(commits.ListAllCommits(t.Context(), &gitalypb.ListAllCommitsRequest{Repository: x.repo})), nil)
	if n := len(ids(messages)); n != 20_002 || len(messages) < 2 {
		t.Errorf("%d commits in %d messages", n, len(messages))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := commits.ListCommits(ctx, &gitalypb.ListCommitsRequest{Repository: x.repo, Revisions: []string{"many"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := drain(stream); status.Code(err) != codes.Canceled {
		t.Errorf("after leaving: %v", err)
	}
	eventually(t, "no rev-list works in the repository", func() bool { return !works(t, x.dir+".*rev-list") })
}

// signedWith makes a commit with signature headers of which nothing is true but the
// form.
func (x content) signedWith(t *testing.T, headers string) (id, signed string) {
	t.Helper()
	head := "tree " + x.c.git(t, "rev-parse", x.first+"^{tree}") + "\nauthor Ann <ann@example.com> 1 +0000\ncommitter Cid <cid@example.com> 2 +0000\n"
	tail := "encoding UTF-8\nx-more first\n second\n\nsigned\n\n gpgsig here\n"
	return x.plumb(t, head+headers+tail, "hash-object", "-t", "commit", "-w", "--literally", "--stdin"), head + tail
}

func TestCommitService_signatures(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, ctx := gitalypb.NewCommitServiceClient(x.conn), t.Context()
	pgp := "-----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----\n"
	ssh := "-----BEGIN SSH SIGNATURE-----\n def\n -----END SSH SIGNATURE-----\n"
	unfold := strings.NewReplacer("\n ", "\n").Replace
	one, oneText := x.signedWith(t, "gpgsig "+pgp)
	both, bothText := x.signedWith(t, "gpgsig-sha256 "+ssh+"gpgsig "+pgp)
	other, otherText := x.signedWith(t, "gpgsig-sha256 "+ssh)
	want := []*gitalypb.GetCommitSignaturesResponse{
		{CommitId: one, Signature: []byte(unfold(pgp)), SignedText: []byte(oneText)},
		{CommitId: both, Signature: []byte(unfold(pgp)), SignedText: []byte(bothText)},
		{CommitId: other, Signature: []byte(unfold(ssh)), SignedText: []byte(otherText)},
	}
	asked := []string{one, x.first, both, strings.Repeat("1", 40), other}
	var got []*gitalypb.GetCommitSignaturesResponse
	for _, m := range all(t, ignore(commits.GetCommitSignatures(ctx, &gitalypb.GetCommitSignaturesRequest{Repository: x.repo, CommitIds: asked})), nil) {
		if m.GetCommitId() != "" {
			got = append(got, m)
			continue
		}
		got[len(got)-1].SignedText = append(got[len(got)-1].SignedText, m.GetSignedText()...)
	}
	if len(got) != len(want) {
		t.Fatalf("signatures: %v", got)
	}
	for i, m := range got {
		if m.GetCommitId() != want[i].GetCommitId() || string(m.GetSignature()) != string(want[i].GetSignature()) || string(m.GetSignedText()) != string(want[i].GetSignedText()) ||
			m.GetSigner() != gitalypb.GetCommitSignaturesResponse_SIGNER_USER || string(m.GetAuthor().GetName()) != "Ann" || string(m.GetCommitter().GetEmail()) != "cid@example.com" {
			t.Errorf("signature = %v, want %v", m, want[i])
		}
	}
	for _, bad := range [][]string{nil, {"main"}, {one[:10]}, {one, "--all"}} {
		_, err := drain(ignore(commits.GetCommitSignatures(ctx, &gitalypb.GetCommitSignaturesRequest{Repository: x.repo, CommitIds: bad})))
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("GetCommitSignatures(%q): %v", bad, err)
		}
	}
	filter, err := commits.FilterShasWithSignatures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, shas := range [][]string{{one, x.first, strings.Repeat("1", 40)}, {x.second}, {other, both}} {
		req := &gitalypb.FilterShasWithSignaturesRequest{}
		if i == 0 {
			req.Repository = x.repo
		}
		for _, sha := range shas {
			req.Shas = append(req.Shas, []byte(sha))
		}
		if err := filter.Send(req); err != nil {
			t.Fatal(err)
		}
		answer, err := filter.Recv()
		if wanted := [][]string{{one}, nil, {other, both}}[i]; err != nil || !slices.Equal(texts(answer.GetShas()), wanted) {
			t.Errorf("signed among %q: %q, %v", shas, answer.GetShas(), err)
		}
	}
	if err := filter.Send(&gitalypb.FilterShasWithSignaturesRequest{Shas: [][]byte{[]byte("--all")}}); err != nil {
		t.Fatal(err)
	}
	if _, err := filter.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("hostile revision: %v", err)
	}
	if filter, err = commits.FilterShasWithSignatures(ctx); err == nil {
		err = filter.CloseSend()
	}
	if _, recvErr := filter.Recv(); err != nil || status.Code(recvErr) != codes.InvalidArgument || errors.Is(recvErr, io.EOF) {
		t.Errorf("no message: %v, %v", err, recvErr)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	commits, refs, ctx := gitalypb.NewCommitServiceClient(x.conn), gitalypb.NewRefServiceClient(x.conn), t.Context()
	long := "long\n\n" + strings.Repeat("0123456789abcde\n", 20<<10) + "\nKey: value\n"
	id := x.plumb(t, long, "commit-tree", "-F", "-", x.first+"^{tree}")
	bare := x.plumb(t, "tree "+x.c.git(t, "rev-parse", x.first+"^{tree}")+"\nauthor a <a> 1 +0000\ncommitter a <a> 1 +0000\n\n", "hash-object", "-t", "commit", "-w", "--stdin")
	found, err := commits.FindCommit(ctx, &gitalypb.FindCommitRequest{Repository: x.repo, Revision: []byte(id), Trailers: true})
	if c := found.GetCommit(); err != nil || len(c.GetBody()) != 10<<10 || c.GetBodySize() != int64(len(long)) || len(c.GetTrailers()) != 1 {
		t.Errorf("FindCommit = %d of %d bytes, trailers %v, %v", len(c.GetBody()), c.GetBodySize(), c.GetTrailers(), err)
	}
	got := map[string]string{}
	last := ""
	for _, m := range all(t, ignore(commits.GetCommitMessages(ctx, &gitalypb.GetCommitMessagesRequest{Repository: x.repo, CommitIds: []string{id, bare, x.second}})), nil) {
		if m.GetCommitId() != "" {
			last = m.GetCommitId()
		}
		got[last] += string(m.GetMessage())
	}
	if diff := cmp.Diff(map[string]string{id: long, bare: "", x.second: "second\n\nBody of it.\n\nSigned-off-by: A <a@example.com>\nRef: #1\n"}, got); diff != "" {
		t.Errorf("GetCommitMessages (-want +got):\n%.1000s", diff)
	}
	tag := x.plumb(t, "object "+x.first+"\ntype commit\ntag long\ntagger T <t@example.com> 1 +0000\n\n"+long, "mktag")
	clear(got)
	for _, m := range all(t, ignore(refs.GetTagMessages(ctx, &gitalypb.GetTagMessagesRequest{Repository: x.repo, TagIds: []string{tag, x.tagged}})), nil) {
		if m.GetTagId() != "" {
			last = m.GetTagId()
		}
		got[last] += string(m.GetMessage())
	}
	if diff := cmp.Diff(map[string]string{tag: long, x.tagged: "a note\n"}, got); diff != "" {
		t.Errorf("GetTagMessages (-want +got):\n%.1000s", diff)
	}
	for id, want := range map[string]codes.Code{strings.Repeat("1", 40): codes.NotFound, x.first + ":": codes.InvalidArgument, "--x": codes.InvalidArgument, "": codes.InvalidArgument} {
		_, err := drain(ignore(commits.GetCommitMessages(ctx, &gitalypb.GetCommitMessagesRequest{Repository: x.repo, CommitIds: []string{id}})))
		_, tagErr := drain(ignore(refs.GetTagMessages(ctx, &gitalypb.GetTagMessagesRequest{Repository: x.repo, TagIds: []string{id}})))
		if status.Code(err) != want || status.Code(tagErr) != want {
			t.Errorf("messages of %q: %v, %v, want %v", id, err, tagErr, want)
		}
	}
	if _, err := drain(ignore(refs.GetTagMessages(ctx, &gitalypb.GetTagMessagesRequest{Repository: x.repo, TagIds: []string{x.first}}))); status.Code(err) != codes.NotFound {
		t.Errorf("message of a commit as a tag: %v", err)
	}
}

func TestRefService_GetTagSignatures(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	content := "object " + x.first + "\ntype commit\ntag signed\ntagger T <t@example.com> 1 +0000\n\nnote\n-----BEGIN SSH SIGNATURE-----\nquoted\n-----END SSH SIGNATURE-----\n"
	signature := "-----BEGIN PGP SIGNATURE-----\nabc\n-----END PGP SIGNATURE-----"
	signed := x.plumb(t, content+signature+"\n", "mktag")
	x.plumb(t, "", "update-ref", "refs/tags/signed", signed)
	plain := x.plumb(t, "", "cat-file", "tag", x.tagged) + "\n"
	list := func(revisions ...string) (got []string, err error) {
		messages, err := drain(ignore(refs.GetTagSignatures(ctx, &gitalypb.GetTagSignaturesRequest{Repository: x.repo, TagRevisions: revisions})))
		for _, m := range messages {
			for _, s := range m.GetSignatures() {
				got = append(got, s.GetTagId(), string(s.GetContent()), string(s.GetSignature()))
			}
		}
		return got, err
	}
	for _, tc := range []struct {
		revisions []string
		want      []string
	}{
		{[]string{"refs/tags/signed", "light", "main"}, []string{signed, content, signature}},
		{[]string{x.tagged}, []string{x.tagged, plain, ""}},
		{[]string{"--all", "--not", "refs/tags/signed"}, []string{x.tagged, plain, ""}},
	} {
		got, err := list(tc.revisions...)
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", tc.revisions, err, diff)
		}
	}
	for revision, want := range map[string]codes.Code{"": codes.InvalidArgument, "--stdin": codes.InvalidArgument, "a b": codes.InvalidArgument, "none": codes.NotFound} {
		if _, err := list(revision); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", revision, err, want)
		}
	}
	if _, err := list(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no revisions: %v", err)
	}
	resp, err := refs.FindTag(ctx, &gitalypb.FindTagRequest{Repository: x.repo, TagName: []byte("signed")})
	if err != nil || resp.GetTag().GetSignatureType() != gitalypb.SignatureType_PGP {
		t.Errorf("FindTag = %v, %v", resp.GetTag(), err)
	}
}
