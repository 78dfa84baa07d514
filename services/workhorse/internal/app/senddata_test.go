package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

const oid = "0123456789abcdef0123456789abcdef01234567"

// sendData is the value of Gitlab-Workhorse-Send-Data for a kind and its parameters,
// with gitaly's address added to them.
func (s *setup) sendData(kind string, params map[string]any) string {
	s.t.Helper()
	all := map[string]any{"GitalyServer": map[string]any{"address": s.gitaly.address, "token": gitalyToken,
		"call_metadata": map[string]string{"user_id": "user-1", "gitaly-feature-x": "true", "secret": "s"}}}
	for key, value := range params {
		all[key] = value
	}
	raw, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	return kind + ":" + base64.URLEncoding.EncodeToString(raw)
}

// delegate makes rails-api answer with a Send-Data header, and gitaly with pieces and
// an error.
func (s *setup) delegate(value string, size int64, err error, pieces ...string) {
	s.rails.proxied = func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Gitlab-Workhorse-Send-Data", value)
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Disposition", `inline; filename="x"`)
		h.Set("Set-Cookie", "a=b")
		h.Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "body of rails")
	}
	s.gitaly.data.size = size
	s.gitaly.data.serve = func(_ context.Context, _ proto.Message, send func(string) error) error {
		for _, p := range pieces {
			if err := send(p); err != nil {
				return err
			}
		}
		return err
	}
}

const (
	pjDiff     = `{"repository":{"storageName":"default","relativePath":"@hashed/aa/bb.git","newKey":1},"leftCommitId":"a","rightCommitId":"b"}`
	pjSnapshot = `{"repository":{"storageName":"default","relativePath":"@hashed/aa/bb.git"}}`
)

func blobParams() map[string]any {
	return map[string]any{"GetBlobRequest": map[string]any{"oid": oid, "limit": -1,
		"repository": map[string]any{"storage_name": "default", "relative_path": "@hashed/aa/bb.git"}}}
}

// The table of delegated answers: what rails-api says, what gitaly answers, what the
// client gets.
func TestSendData(t *testing.T) {
	t.Parallel()
	diff, patch := map[string]any{"RawDiffRequest": pjDiff}, map[string]any{"RawPatchRequest": pjDiff}
	down := status.Error(codes.Unavailable, "secret of gitaly")
	for _, tc := range []struct {
		name, kind string
		params     map[string]any
		method     string
		size       int64
		pieces     []string
		err        error
		status     int
		body       string
		headers    []string
	}{
		{"blob", "git-blob", blobParams(), "GET", 6, []string{"", "abc", "def"}, nil, 200, "abcdef",
			[]string{"Content-Length: 6", "Content-Type: text/plain; charset=utf-8", `Content-Disposition: inline; filename="x"`, "Set-Cookie: ", "Cache-Control: max-age=60"}},
		{"head of a blob", "git-blob", blobParams(), "HEAD", 6, []string{"abcdef"}, nil, 200, "", []string{"Content-Length: 6"}},
		{"no blob", "git-blob", blobParams(), "GET", 0, nil, nil, 404, "Not Found\n", []string{"Content-Disposition: "}},
		{"blob without parameters", "git-blob", nil, "GET", 0, nil, nil, 404, "Not Found\n", nil},
		{"diff", "git-diff", diff, "GET", 0, []string{"di", "ff"}, nil, 200, "diff", []string{"Content-Length: 4", "Content-Type: text/plain; charset=utf-8"}},
		{"empty diff", "git-diff", diff, "GET", 0, nil, nil, 200, "", []string{"Content-Length: 0"}},
		{"head of a diff", "git-diff", diff, "HEAD", 0, nil, down, 200, "", nil},
		{"gitaly down", "git-diff", diff, "GET", 0, nil, down, 503,
			"The git server, Gitaly, is not available at this time. Please contact your administrator.\n", []string{"Content-Disposition: "}},
		{"no repository", "git-diff", diff, "GET", 0, nil, status.Error(codes.NotFound, "x"), 404, "Not Found.\n", nil},
		{"gitaly fails", "git-diff", diff, "GET", 0, nil, status.Error(codes.FailedPrecondition, "secret"), 500, "Internal Server Error\n", nil},
		{"patch", "git-format-patch", patch, "GET", 0, []string{"patch"}, nil, 200, "patch", nil},
		{"patch without request", "git-format-patch", nil, "GET", 0, nil, nil, 500, "Internal Server Error\n", nil},
		{"patch of nonsense", "git-format-patch", map[string]any{"RawPatchRequest": `{"leftCommitId":7}`}, "GET", 0, nil, nil, 500, "Internal Server Error\n", nil},
		{"snapshot", "git-snapshot", map[string]any{"GetSnapshotRequest": pjSnapshot}, "GET", 0, []string{"tar"}, nil, 200, "tar",
			[]string{"Content-Type: application/x-tar", `Content-Disposition: attachment; filename="snapshot.tar"`, "Content-Transfer-Encoding: binary", "Cache-Control: private"}},
		{"unknown kind", "git-fun", nil, "GET", 0, nil, nil, 200, "body of rails", []string{"Set-Cookie: a=b"}},
		{"no gitaly", "git-diff", map[string]any{"RawDiffRequest": pjDiff, "GitalyServer": nil}, "GET", 0, nil, nil, 500, "Internal Server Error\n", nil},
		{"wrong type", "git-diff", map[string]any{"RawDiffRequest": 7}, "GET", 0, nil, nil, 500, "Internal Server Error\n", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			s.delegate(s.sendData(tc.kind, tc.params), tc.size, tc.err, tc.pieces...)
			res, body := s.do(tc.method, "/g/app/-/raw", nil)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("answer %d %q, want %d %q", res.StatusCode, body, tc.status, tc.body)
			}
			for _, line := range append(tc.headers, "Gitlab-Workhorse-Send-Data: ") {
				checkLine(t, res, line)
			}
			if tc.body != "body of rails" {
				checkLine(t, res, "X-Accel-Buffering: no")
				checkLine(t, res, "X-Content-Type-Options: nosniff")
			}
			if strings.Contains(body, "secret") {
				t.Error("gitaly's words reached the client")
			}
		})
	}
}

// What rails-api says badly, and what does not count.
func TestSendData_header(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for name, tc := range map[string]struct {
		values []string
		status int
		answer int
		body   string
	}{
		"no base64":       {[]string{"git-blob:{}"}, 200, 500, "Internal Server Error\n"},
		"no json":         {[]string{"git-blob:" + base64.URLEncoding.EncodeToString([]byte("x"))}, 200, 500, "Internal Server Error\n"},
		"two documents":   {[]string{"git-blob:" + base64.URLEncoding.EncodeToString([]byte("{}{}"))}, 200, 500, "Internal Server Error\n"},
		"deep":            {[]string{"git-blob:" + base64.URLEncoding.EncodeToString([]byte(strings.Repeat("[", 40)))}, 200, 500, "Internal Server Error\n"},
		"huge":            {[]string{"git-blob:" + strings.Repeat("e30g", 20<<10)}, 200, 500, "Internal Server Error\n"},
		"nothing":         {[]string{""}, 200, 200, "body of rails"},
		"only a kind":     {[]string{"git-blob"}, 200, 500, "Internal Server Error\n"},
		"twice":           {[]string{"git-fun:e30=", "git-blob:e30="}, 200, 500, "Internal Server Error\n"},
		"another status":  {[]string{"git-blob:e30="}, 201, 201, "body of rails"},
		"a refusal":       {[]string{"git-blob:e30="}, 404, 404, "body of rails"},
		"the wrong case":  {[]string{"Git-Blob:e30="}, 200, 200, "body of rails"},
		"spaces in front": {[]string{"\tgit-blob:e30="}, 200, 500, "Internal Server Error\n"}, // which HTTP takes away
	} {
		s.rails.proxied = func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Gitlab-Workhorse-Send-Data"] = tc.values
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, "body of rails")
		}
		res, body := s.do("GET", "/a", nil)
		if res.StatusCode != tc.answer || body != tc.body {
			t.Errorf("%s: %d %q, want %d %q", name, res.StatusCode, body, tc.answer, tc.body)
		}
		checkLine(t, res, "Gitlab-Workhorse-Send-Data: ")
	}
}

// What rails-api says about the caller and the repository reaches gitaly.
func TestSendData_toGitaly(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.delegate(s.sendData("git-diff", map[string]any{"RawDiffRequest": pjDiff}), 0, nil)
	var asked proto.Message
	s.gitaly.data.serve = func(_ context.Context, req proto.Message, _ func(string) error) error {
		asked = req
		return nil
	}
	res, _ := s.do("GET", "/a", nil)
	want := call{Method: "RawDiff", Repo: "@hashed/aa/bb.git", Metadata: map[string]string{"x-gitlab-correlation-id": res.Header.Get("X-Request-Id"),
		"x-gitlab-client-name": "gitlab-workhorse", "user_id": "user-1", "remote_ip": "127.0.0.1", "gitaly-feature-x": "true"}}
	if diff := cmp.Diff(want, s.gitaly.last(t)); diff != "" {
		t.Errorf("call of gitaly (-want +got):\n%s", diff)
	}
	if r, ok := asked.(*gitalypb.RawDiffRequest); !ok || r.GetLeftCommitId() != "a" || r.GetRightCommitId() != "b" || r.GetRepository().GetStorageName() != "default" {
		t.Errorf("gitaly was asked %v", asked)
	}
}

// A transfer that fails in the middle does not look whole, with and without a known
// length, and a client that leaves ends gitaly's call.
func TestSendData_cut(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 100_000)
	for kind, params := range map[string]map[string]any{"git-blob": blobParams(), "git-diff": {"RawDiffRequest": pjDiff}} {
		s := start(t, nil)
		s.delegate(s.sendData(kind, params), 1_000_000, status.Error(codes.Unavailable, "gone"), big)
		s.cutShort("/a", big)
	}
}

// cutShort asks for what begins as whole does, and must not get an end.
func (s *setup) cutShort(path, whole string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.base()+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := client(s.t, "").Do(req)
	if err != nil {
		return // so little that not even the headers have left
	}
	got, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err == nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(whole, string(got)) {
		s.t.Errorf("%s: status %d, %d bytes, error %v", path, res.StatusCode, len(got), err)
	}
}

func TestSendData_clientLeaves(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	s.delegate(s.sendData("git-diff", map[string]any{"RawDiffRequest": pjDiff}), 0, nil)
	left := make(chan struct{})
	s.gitaly.data.serve = func(ctx context.Context, _ proto.Message, send func(string) error) error {
		defer close(left)
		for ctx.Err() == nil {
			if err := send(strings.Repeat("x", 64<<10)); err != nil {
				break
			}
		}
		return ctx.Err()
	}
	c := dialRaw(t, s.at())
	c.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	c.until("xxxx")
	_ = c.Close()
	within(t, left, "gitaly's call to end")
}
