package app_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// refs lists all references of the repository as "name id".
func (x content) refs(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "--git-dir", x.dir, "for-each-ref", "--format=%(refname) %(objectname)").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(out), " ", "="))
}

func move(name, old, id string) *gitalypb.UpdateReferencesRequest_Update {
	return &gitalypb.UpdateReferencesRequest_Update{Reference: []byte(name), OldObjectId: []byte(old), NewObjectId: []byte(id)}
}

// updateReferences sends each of the lists as a message.
func (x content) updateReferences(t *testing.T, messages ...[]*gitalypb.UpdateReferencesRequest_Update) error {
	t.Helper()
	stream, err := gitalypb.NewRefServiceClient(x.conn).UpdateReferences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		req := &gitalypb.UpdateReferencesRequest{Updates: m}
		if i == 0 {
			req.Repository = x.repo
		}
		if stream.Send(req) != nil {
			break // refused already; the answer says why
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

type moves = []*gitalypb.UpdateReferencesRequest_Update

func TestRefService_UpdateReferences(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	zero := strings.Repeat("0", 40)
	err := x.updateReferences(t, moves{move("refs/heads/new", zero, x.first), move("refs/heads/main", x.second, x.first)}, moves{move("refs/tags/light", "", zero)})
	want := []string{"refs/heads/main=" + x.first, "refs/heads/new=" + x.first, "refs/heads/old=" + x.first, "refs/tags/heavy=" + x.tagged}
	if diff := cmp.Diff(want, x.refs(t)); diff != "" || err != nil {
		t.Fatalf("UpdateReferences: %v (-want +got):\n%s", err, diff)
	}
	if err := os.WriteFile(filepath.Join(x.dir, "refs/heads/locked.lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	format := func(name string) *gitalypb.UpdateReferencesError {
		return &gitalypb.UpdateReferencesError{Error: &gitalypb.UpdateReferencesError_InvalidFormat{
			InvalidFormat: &gitalypb.InvalidRefFormatError{Refs: [][]byte{[]byte(name)}}}}
	}
	mismatch := func(name, expected, actual string) *gitalypb.UpdateReferencesError {
		return &gitalypb.UpdateReferencesError{Error: &gitalypb.UpdateReferencesError_ReferenceStateMismatch{
			ReferenceStateMismatch: &gitalypb.ReferenceStateMismatchError{ReferenceName: []byte(name), ExpectedObjectId: []byte(expected), ActualObjectId: []byte(actual)}}}
	}
	nowhere := strings.Repeat("1", 40)
	tree := x.c.git(t, "rev-parse", x.first+"^{tree}")
	for _, tc := range []struct {
		name   string
		update *gitalypb.UpdateReferencesRequest_Update
		code   codes.Code
		detail proto.Message
	}{
		{"another state", move("refs/heads/main", x.second, x.second), codes.Aborted, mismatch("refs/heads/main", x.second, x.first)},
		{"exists", move("refs/heads/main", zero, x.second), codes.Aborted, mismatch("refs/heads/main", zero, "")},
		{"exists not", move("refs/heads/none", x.first, x.second), codes.Aborted, mismatch("refs/heads/none", "", zero)},
		{"locked", move("refs/heads/locked", "", x.first), codes.Aborted, &gitalypb.UpdateReferencesError{
			Error: &gitalypb.UpdateReferencesError_ReferencesLocked{ReferencesLocked: &gitalypb.ReferencesLockedError{Refs: [][]byte{[]byte("refs/heads/locked")}}}}},
		{"no such object", move("refs/heads/x", "", nowhere), codes.NotFound, nil},
		{"no commit", move("refs/heads/x", "", tree), codes.InvalidArgument, nil},
		{"below a branch", move("refs/heads/main/x", "", x.first), codes.Aborted, nil},
		{"twice", move("refs/heads/good", "", x.second), codes.InvalidArgument, nil},
		{"short name", move("main", "", x.first), codes.InvalidArgument, format("main")},
		{"option", move("--stdin", "", x.first), codes.InvalidArgument, format("--stdin")},
		{"NUL", move("refs/heads/a\x00refs/heads/b", "", x.first), codes.InvalidArgument, format("refs/heads/a\x00refs/heads/b")},
		{"out of refs", move("refs/../config", "", x.first), codes.InvalidArgument, format("refs/../config")},
		{"huge name", move("refs/heads/"+strings.Repeat("a/", 1<<19), "", x.first), codes.InvalidArgument, nil},
		{"revision", move("refs/heads/x", "", "main"), codes.InvalidArgument, nil},
		{"no id", move("refs/heads/x", "", ""), codes.InvalidArgument, nil},
		{"wrong hash", move("refs/heads/x", "", x.first+strings.Repeat("0", 24)), codes.InvalidArgument, nil},
		{"bad old id", move("refs/heads/x", "HEAD", x.first), codes.InvalidArgument, nil},
	} {
		err := x.updateReferences(t, moves{move("refs/heads/good", "", x.first)}, moves{tc.update})
		details := status.Convert(err).Details()
		if status.Code(err) != tc.code || tc.detail != nil && (len(details) != 1 || !proto.Equal(details[0].(proto.Message), tc.detail)) {
			t.Errorf("%s: %v with %v, want %v with %v", tc.name, err, details, tc.code, tc.detail)
		}
		if text := status.Convert(err).Message(); tc.code == codes.Aborted && text != "The operation could not be completed. Please try again." {
			t.Errorf("%s: %q", tc.name, text)
		}
	}
	if diff := cmp.Diff(want, x.refs(t)); diff != "" {
		t.Errorf("after the failures (-want +got):\n%s", diff)
	}
	if err := x.updateReferences(t, nil); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no updates: %v", err)
	}
}

// works reports whether there is a process whose command line matches a pattern.
func works(t *testing.T, pattern string) bool {
	t.Helper()
	found, _ := exec.CommandContext(t.Context(), "pgrep", "-f", pattern).Output()
	return len(found) > 0
}

// TestRefService_UpdateReferences_canceled: a client that leaves, or begins again,
// moves nothing.
func TestRefService_UpdateReferences_canceled(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	before := x.refs(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := &gitalypb.UpdateReferencesRequest{Repository: x.repo, Updates: moves{move("refs/heads/main", "", x.first)}}
	stream, err := gitalypb.NewRefServiceClient(x.conn).UpdateReferences(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(first); err != nil {
		t.Fatal(err)
	}
	eventually(t, "git waits for more", func() bool { return works(t, x.dir+".*update-ref") })
	cancel()
	eventually(t, "git has ended", func() bool { return !works(t, x.dir+".*update-ref") })
	stream, err = gitalypb.NewRefServiceClient(x.conn).UpdateReferences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_ = stream.Send(first)
	}
	if _, err := stream.CloseAndRecv(); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "repository set in subsequent request" {
		t.Errorf("repository again: %v", err)
	}
	if diff := cmp.Diff(before, x.refs(t)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

func TestRefService_DeleteRefs(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	all := x.refs(t)
	lock := filepath.Join(x.dir, "refs/heads/old.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		req    *gitalypb.DeleteRefsRequest
		code   codes.Code
		detail *gitalypb.DeleteRefsError
	}{
		{"everything", &gitalypb.DeleteRefsRequest{}, codes.InvalidArgument, nil},
		{"both", &gitalypb.DeleteRefsRequest{Refs: [][]byte{[]byte("refs/heads/main")}, ExceptWithPrefix: [][]byte{[]byte("x")}}, codes.InvalidArgument, nil},
		{"empty prefix", &gitalypb.DeleteRefsRequest{ExceptWithPrefix: [][]byte{[]byte("refs/"), {}}}, codes.InvalidArgument, nil},
		{"empty name", &gitalypb.DeleteRefsRequest{Refs: [][]byte{{}}}, codes.InvalidArgument, nil},
		{"malformed", &gitalypb.DeleteRefsRequest{Refs: [][]byte{[]byte("refs/heads/main"), []byte("-d"), []byte("refs/a\x00b"), []byte("HEAD")}}, codes.InvalidArgument,
			&gitalypb.DeleteRefsError{Error: &gitalypb.DeleteRefsError_InvalidFormat{InvalidFormat: &gitalypb.InvalidRefFormatError{
				Refs: [][]byte{[]byte("-d"), []byte("refs/a\x00b"), []byte("HEAD")}}}}},
		{"locked", &gitalypb.DeleteRefsRequest{Refs: [][]byte{[]byte("refs/heads/main"), []byte("refs/heads/old")}}, codes.FailedPrecondition,
			&gitalypb.DeleteRefsError{Error: &gitalypb.DeleteRefsError_ReferencesLocked{ReferencesLocked: &gitalypb.ReferencesLockedError{Refs: [][]byte{[]byte("refs/heads/old")}}}}},
	} {
		tc.req.Repository = x.repo
		_, err := refs.DeleteRefs(ctx, tc.req)
		details := status.Convert(err).Details()
		if status.Code(err) != tc.code || tc.detail != nil && (len(details) != 1 || !proto.Equal(details[0].(proto.Message), tc.detail)) {
			t.Errorf("%s: %v with %v, want %v with %v", tc.name, err, details, tc.code, tc.detail)
		}
	}
	if diff := cmp.Diff(all, x.refs(t)); diff != "" {
		t.Fatalf("after the failures (-want +got):\n%s", diff)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	_, err := refs.DeleteRefs(ctx, &gitalypb.DeleteRefsRequest{Repository: x.repo, Refs: [][]byte{[]byte("refs/heads/old"), []byte("refs/heads/none")}})
	if got := x.refs(t); err != nil || len(got) != len(all)-1 || slices.ContainsFunc(got, func(r string) bool { return strings.HasPrefix(r, "refs/heads/old=") }) {
		t.Errorf("DeleteRefs: %v, left %q", err, got)
	}
	_, err = refs.DeleteRefs(ctx, &gitalypb.DeleteRefsRequest{Repository: x.repo, ExceptWithPrefix: [][]byte{[]byte("refs/heads/"), []byte("refs/tags/l")}})
	if diff := cmp.Diff([]string{"refs/heads/main=" + x.second, "refs/tags/light=" + x.second}, x.refs(t)); err != nil || diff != "" {
		t.Errorf("DeleteRefs: %v, left (-want +got):\n%s", err, diff)
	}
	x.assertClean(t, x.dir)
}

// withManyRefs adds 20,000 references below refs/mirror/.
func (x content) withManyRefs(t *testing.T) {
	t.Helper()
	packed := []byte("# pack-refs with: peeled fully-peeled sorted \n")
	for i := range 20_000 {
		packed = fmt.Appendf(packed, "%s %s\n", x.first, mirrorRef(i))
	}
	if err := os.WriteFile(filepath.Join(x.dir, "packed-refs"), packed, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mirrorRef(i int) string { return fmt.Sprintf("refs/mirror/%s/%05d", strings.Repeat("n", 100), i) }

// TestRefService_manyRefs: as many references as a mirror has come in several
// messages, and many go at once.
func TestRefService_manyRefs(t *testing.T) {
	t.Parallel()
	x := withContent(t)
	x.withManyRefs(t)
	refs, ctx := gitalypb.NewRefServiceClient(x.conn), t.Context()
	listed, messages := 0, 0
	for _, m := range all(t, ignore(refs.ListRefs(ctx, &gitalypb.ListRefsRequest{Repository: x.repo, Patterns: [][]byte{[]byte("refs/mirror/")}})), nil) {
		listed += len(m.GetReferences())
		messages++
	}
	if listed != 20_000 || messages < 2 {
		t.Errorf("listed %d references in %d messages", listed, messages)
	}
	req := &gitalypb.DeleteRefsRequest{Repository: x.repo}
	for i := range 1000 {
		req.Refs = append(req.Refs, []byte(mirrorRef(20*i)))
	}
	if _, err := refs.DeleteRefs(ctx, req); err != nil {
		t.Fatal(err)
	}
	if got := x.refs(t); len(got) != 19_004 {
		t.Errorf("%d references left", len(got))
	}
}
