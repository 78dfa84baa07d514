package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

// withRemotes adds what was fetched from two remotes, and a reference that leads to no
// commit.
func withRemotes(t *testing.T) content {
	t.Helper()
	x := withContent(t)
	zero := strings.Repeat("0", 40)
	err := x.updateReferences(t, moves{
		move("refs/remotes/up/main", zero, x.second), move("refs/remotes/up/\xff", zero, x.first), move("refs/remotes/upper/main", zero, x.first),
		move("refs/remotes/up/tree", zero, x.c.git(t, "rev-parse", x.first+"^{tree}")),
	})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestRefService_FindAllBranches(t *testing.T) {
	t.Parallel()
	x := withRemotes(t)
	side := x.c.commit(t, "side", "not merged")
	x.c.git(t, "push", "-q", remote(rel), "HEAD:side")
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	for _, tc := range []struct {
		name string
		req  *gitalypb.FindAllBranchesRequest
		want []string
	}{
		{"all", &gitalypb.FindAllBranchesRequest{}, []string{"refs/heads/main=" + x.second, "refs/heads/old=" + x.first, "refs/heads/side=" + side,
			"refs/remotes/up/main=" + x.second, "refs/remotes/up/\xff=" + x.first, "refs/remotes/upper/main=" + x.first}},
		{"merged", &gitalypb.FindAllBranchesRequest{MergedOnly: true, MergedBranches: [][]byte{[]byte("refs/heads/old"), []byte("refs/heads/side")}},
			[]string{"refs/heads/old=" + x.first}},
		{"all merged", &gitalypb.FindAllBranchesRequest{MergedOnly: true}, []string{"refs/heads/main=" + x.second, "refs/heads/old=" + x.first,
			"refs/remotes/up/main=" + x.second, "refs/remotes/up/\xff=" + x.first, "refs/remotes/upper/main=" + x.first}},
		{"branches without merged", &gitalypb.FindAllBranchesRequest{MergedBranches: [][]byte{[]byte("--x")}}, []string{"refs/heads/main=" + x.second, "refs/heads/old=" + x.first,
			"refs/heads/side=" + side, "refs/remotes/up/main=" + x.second, "refs/remotes/up/\xff=" + x.first, "refs/remotes/upper/main=" + x.first}},
	} {
		tc.req.Repository = x.repo
		var got []string
		for _, m := range all(t, ignore(refs.FindAllBranches(ctx, tc.req)), nil) {
			for _, b := range m.GetBranches() {
				got = append(got, string(b.GetName())+"="+b.GetTarget().GetId())
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
	_, err := drain(ignore(refs.FindAllBranches(ctx, &gitalypb.FindAllBranchesRequest{Repository: x.repo, MergedOnly: true, MergedBranches: [][]byte{[]byte("--x")}})))
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("hostile pattern: %v", err)
	}
	for name, want := range map[string][]string{"up": {"refs/remotes/up/main", "refs/remotes/up/\xff"}, "none": nil} {
		var got []string
		for _, m := range all(t, ignore(refs.FindAllRemoteBranches(ctx, &gitalypb.FindAllRemoteBranchesRequest{Repository: x.repo, RemoteName: name})), nil) {
			for _, b := range m.GetBranches() {
				got = append(got, string(b.GetName()))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("branches of %q (-want +got):\n%s", name, diff)
		}
	}
	for _, bad := range []string{"", "*", "..", "../heads", "a\x00", strings.Repeat("u", 1<<20)} {
		_, err := drain(ignore(refs.FindAllRemoteBranches(ctx, &gitalypb.FindAllRemoteBranchesRequest{Repository: x.repo, RemoteName: bad})))
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("branches of %.20q: %v", bad, err)
		}
	}
}

func TestRefService_namesContainingCommit(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	list := func(id string, limit uint32) (branches, tags []string, err error) {
		b, err := drain(ignore(refs.ListBranchNamesContainingCommit(ctx, &gitalypb.ListBranchNamesContainingCommitRequest{Repository: x.repo, CommitId: id, Limit: limit})))
		for _, m := range b {
			branches = append(branches, texts(m.GetBranchNames())...)
		}
		if err != nil {
			return nil, nil, err
		}
		g, err := drain(ignore(refs.ListTagNamesContainingCommit(ctx, &gitalypb.ListTagNamesContainingCommitRequest{Repository: x.repo, CommitId: id, Limit: limit})))
		for _, m := range g {
			tags = append(tags, texts(m.GetTagNames())...)
		}
		return branches, tags, err
	}
	for _, tc := range []struct {
		id             string
		limit          uint32
		branches, tags []string
	}{
		{x.first, 0, []string{"main", "old"}, []string{"heavy", "light"}}, {x.second, 0, []string{"main"}, []string{"light"}},
		{x.first, 1, []string{"main"}, []string{"heavy"}},
	} {
		branches, tags, err := list(tc.id, tc.limit)
		if diff := cmp.Diff([][]string{tc.branches, tc.tags}, [][]string{branches, tags}); err != nil || diff != "" {
			t.Errorf("%s, limit %d: %v (-want +got):\n%s", tc.id, tc.limit, err, diff)
		}
	}
	for id, want := range map[string]codes.Code{
		"": codes.InvalidArgument, "main": codes.InvalidArgument, x.first[:10]: codes.InvalidArgument, "--all" + x.first[5:]: codes.InvalidArgument,
		strings.ToUpper(x.first): codes.InvalidArgument, strings.Repeat("1", 40): codes.NotFound, strings.Repeat("1", 64): codes.InvalidArgument,
	} {
		if _, _, err := list(id, 0); status.Code(err) != want {
			t.Errorf("%q: %v, want %v", id, err, want)
		}
	}
}

func texts(in [][]byte) (out []string) {
	for _, b := range in {
		out = append(out, string(b))
	}
	return out
}

func TestRefService_FindRefsByOID(t *testing.T) {
	t.Parallel()
	x := withRemotes(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	for _, tc := range []struct {
		name string
		req  *gitalypb.FindRefsByOIDRequest
		want []string
		code codes.Code
	}{
		{"branches and tags", &gitalypb.FindRefsByOIDRequest{Oid: x.first}, []string{"refs/heads/old", "refs/tags/heavy"}, codes.OK},
		{"short id", &gitalypb.FindRefsByOIDRequest{Oid: x.second[:8]}, []string{"refs/heads/main", "refs/tags/light"}, codes.OK},
		{"descending", &gitalypb.FindRefsByOIDRequest{Oid: x.second, SortField: "-refname"}, []string{"refs/tags/light", "refs/heads/main"}, codes.OK},
		{"limit", &gitalypb.FindRefsByOIDRequest{Oid: x.second, SortField: "version:refname", Limit: 1}, []string{"refs/heads/main"}, codes.OK},
		{"patterns", &gitalypb.FindRefsByOIDRequest{Oid: x.first, RefPatterns: []string{"refs/remotes/"}}, []string{"refs/remotes/up/\uFFFD", "refs/remotes/upper/main"}, codes.OK},
		{"none", &gitalypb.FindRefsByOIDRequest{Oid: strings.Repeat("1", 40)}, nil, codes.OK},
		{"empty", &gitalypb.FindRefsByOIDRequest{}, nil, codes.InvalidArgument},
		{"too short", &gitalypb.FindRefsByOIDRequest{Oid: "ab"}, nil, codes.InvalidArgument},
		{"unknown short id", &gitalypb.FindRefsByOIDRequest{Oid: "0000"}, nil, codes.InvalidArgument},
		{"revision", &gitalypb.FindRefsByOIDRequest{Oid: "main"}, nil, codes.InvalidArgument},
		{"unknown field", &gitalypb.FindRefsByOIDRequest{Oid: x.first, SortField: "nonsense"}, nil, codes.InvalidArgument},
		{"hostile field", &gitalypb.FindRefsByOIDRequest{Oid: x.first, SortField: "--format=%(refname)"}, nil, codes.InvalidArgument},
		{"hostile pattern", &gitalypb.FindRefsByOIDRequest{Oid: x.first, RefPatterns: []string{"--stdin"}}, nil, codes.InvalidArgument},
	} {
		tc.req.Repository = x.repo
		got, err := refs.FindRefsByOID(ctx, tc.req)
		if diff := cmp.Diff(tc.want, got.GetRefs()); status.Code(err) != tc.code || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	x.withManyRefs(t)
	_, err := refs.FindRefsByOID(ctx, &gitalypb.FindRefsByOIDRequest{Repository: x.repo, Oid: x.first, RefPatterns: []string{"refs/mirror/"}})
	got, limitErr := refs.FindRefsByOID(ctx, &gitalypb.FindRefsByOIDRequest{Repository: x.repo, Oid: x.first, RefPatterns: []string{"refs/mirror/"}, Limit: 20_000})
	if len(got.GetRefs()) != 20_000 || err != nil || limitErr != nil {
		t.Errorf("20000 references: %v, %d with a limit: %v", err, len(got.GetRefs()), limitErr)
	}
}

func TestRefService_excludePatterns(t *testing.T) {
	t.Parallel()
	x := withRemotes(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	list := func(req *gitalypb.ListRefsRequest) (names []string, cursor string, err error) {
		req.Repository = x.repo
		if req.Patterns == nil {
			req.Patterns = [][]byte{[]byte("refs/")}
		}
		messages, err := drain(ignore(refs.ListRefs(ctx, req)))
		for _, m := range messages {
			for _, r := range m.GetReferences() {
				names = append(names, string(r.GetName()))
			}
			cursor = m.GetPaginationCursor().GetNextCursor()
		}
		return names, cursor, err
	}
	got, _, err := list(&gitalypb.ListRefsRequest{ExcludePatterns: [][]byte{[]byte("refs/remotes/up"), []byte("refs/*/l*"), []byte("refs/heads/old")}})
	if diff := cmp.Diff([]string{"refs/heads/main", "refs/remotes/upper/main", "refs/tags/heavy"}, got); err != nil || diff != "" {
		t.Errorf("excluded: %v (-want +got):\n%s", err, diff)
	}
	var walked []string
	exclude, token := [][]byte{[]byte("refs/tags/"), []byte("refs/heads/main")}, ""
	for range 10 {
		names, cursor, err := list(&gitalypb.ListRefsRequest{ExcludePatterns: exclude, PaginationParams: &gitalypb.PaginationParameter{Limit: 2, PageToken: token}})
		if err != nil {
			t.Fatal(err)
		}
		walked = append(walked, names...)
		if token = cursor; token == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"refs/heads/old", "refs/remotes/up/main", "refs/remotes/up/tree", "refs/remotes/up/\xff", "refs/remotes/upper/main"}, walked); diff != "" {
		t.Errorf("page by page (-want +got):\n%s", diff)
	}
	if names, cursor, err := list(&gitalypb.ListRefsRequest{Head: true, PaginationParams: &gitalypb.PaginationParameter{}}); err != nil || len(names) != 0 || cursor != "" {
		t.Errorf("empty page: %q, %q, %v", names, cursor, err)
	}
	for _, bad := range []*gitalypb.ListRefsRequest{
		{ExcludePatterns: [][]byte{[]byte("--all")}}, {ExcludePatterns: [][]byte{{}}}, {ExcludePatterns: [][]byte{[]byte(strings.Repeat("x", 1<<20))}},
		{PaginationParams: &gitalypb.PaginationParameter{PageToken: "%%%", Limit: 1}}, {Patterns: slices.Repeat([][]byte{[]byte("refs/x")}, 2000)},
	} {
		if _, _, err := list(bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("ListRefs(%.100v): %v", bad, err)
		}
	}
	var branches []string
	for _, m := range all(t, ignore(refs.FindLocalBranches(ctx, &gitalypb.FindLocalBranchesRequest{Repository: x.repo, ExcludePatterns: [][]byte{[]byte("refs/heads/m*")}})), nil) {
		for _, b := range m.GetLocalBranches() {
			branches = append(branches, string(b.GetName()))
		}
	}
	if !slices.Equal(branches, []string{"refs/heads/old"}) {
		t.Errorf("local branches: %q", branches)
	}
}
