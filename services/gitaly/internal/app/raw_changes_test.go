package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/proto/go/gitalypb"
)

func TestRepositoryService_GetRawChanges(t *testing.T) {
	t.Parallel()
	x := withOddNames(t)
	x.feed(t, []byte(`commit refs/heads/changed
committer C <c@example.com> 1700000002 +0000
data 0
from refs/heads/main
M 100644 inline README.md
data 8
changed

M 100755 inline dir/a.txt
data 6
hello
D run
R dir/deep/b.txt "line\nbreak/z"
M 120000 inline -dash.md
data 4
run

M 160000 2222222222222222222222222222222222222222 sub
M 100644 inline new
data 3
new
`), "fast-import", "--quiet")
	get := func(from, to string) ([]string, error) {
		stream, err := x.repos.GetRawChanges(t.Context(), &gitalypb.GetRawChangesRequest{Repository: x.repo, FromRevision: from, ToRevision: to})
		if err != nil {
			return nil, err
		}
		messages, err := drain(stream)
		var out []string
		for _, m := range messages {
			for _, c := range m.GetRawChanges() {
				out = append(out, fmt.Sprintf("%s %o %o %q %q %.7s %d", c.GetOperation(), c.GetOldMode(), c.GetNewMode(),
					c.GetOldPathBytes(), c.GetNewPathBytes(), c.GetBlobId(), c.GetSize()))
			}
		}
		slices.Sort(out)
		return out, err
	}
	got, err := get("main", "changed")
	want := []string{
		`ADDED 0 100644 "" "new" 3e5126c 3`,
		`DELETED 100755 0 "run" "" ce01362 6`,
		`MODIFIED 100644 100644 "README.md" "README.md" 5ea2ed4 8`,
		`MODIFIED 100644 100755 "dir/a.txt" "dir/a.txt" ce01362 6`,
		`MODIFIED 160000 160000 "sub" "sub"  0`,
		`RENAMED 100644 100644 "dir/deep/b.txt" "line\nbreak/z" ce01362 6`,
		`TYPE_CHANGED 100644 120000 "-dash.md" "-dash.md" f5bdd21 4`,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("changes: %v (-want +got):\n%s", err, diff)
	}
	zero := strings.Repeat("0", 40)
	if got, err := get(zero, "main"); err != nil || len(got) != 12 {
		t.Errorf("from nothing: %q, %v", got, err)
	}
	for _, same := range [][2]string{{"main", zero}, {zero, zero}, {"main", "main^{commit}"}} {
		if got, err := get(same[0], same[1]); err != nil || got != nil {
			t.Errorf("%q: %q, %v", same, got, err)
		}
	}
	for _, tc := range []struct{ from, to, text string }{
		{"", "main", `invalid 'from' revision: ""`},
		{"main", "none", `invalid 'to' revision: "none"`},
		{"--output=/tmp/x", "main", `invalid 'from' revision: "--output=/tmp/x"`},
		{"main", "main\nHEAD", `invalid 'to' revision: "main\nHEAD"`},
		{"main:dir", "main", `invalid 'from' revision: "main:dir"`},
	} {
		if _, err := get(tc.from, tc.to); status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != tc.text {
			t.Errorf("%q to %q: %v, want %q", tc.from, tc.to, err, tc.text)
		}
	}
	blob := strings.TrimSpace(x.feed(t, nil, "rev-parse", "main:run"))
	if _, err := get(blob, "main"); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("from a file: %v", err)
	}
}
