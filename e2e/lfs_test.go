package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"gitsplit/e2e/internal/user"
	"gitsplit/e2e/stack"
)

// lfsProject is a project of a user who transfers objects without git.
type lfsProject struct {
	t     *testing.T
	owner *actor
	url   string // of the repository
}

func newLFSProject(t *testing.T, visibility string) lfsProject {
	t.Helper()
	return lfsProjectOf(t, shared, visibility)
}

func lfsProjectOf(t *testing.T, s *stack.Stack, visibility string) lfsProject {
	t.Helper()
	ada, err := user.New(t.Context(), s, "ada", t.TempDir())
	if err == nil {
		err = s.Must(t.Context(), ada.Token, http.MethodPost, "projects", map[string]any{"path": "p", "visibility": visibility}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return lfsProject{t, ada, s.HTTP + "/" + ada.Username + "/p.git"}
}

func (p lfsProject) authorization() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.owner.Username+":"+p.owner.Token))
}

// do sends a request and returns the status and the body. headers come in pairs.
func (p lfsProject) do(ctx context.Context, method, url string, body io.Reader, headers ...string) (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, nil, nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, raw, err
}

// batch asks for the action of one object, nil when there is none.
func (p lfsProject) batch(operation, oid string, size int) (href string, header map[string]string) {
	p.t.Helper()
	in := fmt.Sprintf(`{"operation":%q,"objects":[{"oid":%q,"size":%d}]}`, operation, oid, size)
	status, _, raw, err := p.do(p.t.Context(), http.MethodPost, p.url+"/info/lfs/objects/batch", bytes.NewBufferString(in),
		"Authorization", p.authorization(), "Content-Type", "application/vnd.git-lfs+json")
	var out struct {
		Objects []struct {
			Actions map[string]struct {
				Href   string
				Header map[string]string
			}
		}
	}
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	if err != nil || status != http.StatusOK || len(out.Objects) != 1 {
		p.t.Fatalf("batch: %d %s, %v", status, raw, err)
	}
	a := out.Objects[0].Actions[operation]
	return a.Href, a.Header
}

func (p lfsProject) upload(oid string, size int, body io.Reader) (status int, answer string) {
	p.t.Helper()
	href, header := p.batch("upload", oid, size)
	if href == "" {
		p.t.Fatal("no upload is wanted")
	}
	status, _, raw, err := p.do(p.t.Context(), http.MethodPut, href, body, "Authorization", header["Authorization"], "Content-Type", header["Content-Type"])
	if err != nil {
		p.t.Fatal(err)
	}
	return status, string(raw)
}

func content(seed byte, size int) (data []byte, oid string) {
	data = make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:])
}

// TestLFS_download: an object is sent in parts, as a transfer that broke off asks for the rest, and to its project alone.
func TestLFS_download(t *testing.T) {
	t.Parallel()
	p, stranger := newLFSProject(t, "private"), newLFSProject(t, "private")
	data, oid := content(1, 300_000)
	if status, answer := p.upload(oid, len(data), bytes.NewReader(data)); status != http.StatusOK || answer != "" {
		t.Fatalf("upload: %d %s", status, answer)
	}
	href, header := p.batch("download", oid, len(data))
	for _, tc := range []struct {
		ranges string
		status int
		want   []byte
	}{
		{"", http.StatusOK, data}, {"bytes=100000-", http.StatusPartialContent, data[100_000:]}, {"bytes=5-9", http.StatusPartialContent, data[5:10]},
		{"bytes=-1", http.StatusPartialContent, data[len(data)-1:]},
	} {
		headers := []string{"Authorization", header["Authorization"]}
		if tc.ranges != "" {
			headers = append(headers, "Range", tc.ranges)
		}
		status, got, raw, err := p.do(t.Context(), http.MethodGet, href, nil, headers...)
		if err != nil || status != tc.status || !bytes.Equal(raw, tc.want) || got.Get("X-Sendfile") != "" || got.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("range %q: %d, %d bytes, %v, %v", tc.ranges, status, len(raw), got, err)
		}
	}
	if status, _, _, err := p.do(t.Context(), http.MethodGet, href, nil, "Authorization", header["Authorization"], "Range", "bytes=300000-"); err != nil || status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("a range behind the end: %d, %v", status, err)
	}
	if href, _ := stranger.batch("download", oid, len(data)); href != "" {
		t.Error("another project offers the object")
	}
	for name, tc := range map[string]struct {
		url, authorization string
		status             int
	}{
		"nobody":                            {href, "", http.StatusUnauthorized},
		"a stranger":                        {href, stranger.authorization(), http.StatusNotFound},
		"a stranger's project":              {stranger.url + "/gitlab-lfs/objects/" + oid, stranger.authorization(), http.StatusNotFound},
		"a token of the project, elsewhere": {stranger.url + "/gitlab-lfs/objects/" + oid, header["Authorization"], http.StatusNotFound},
	} {
		if status, _, raw, err := p.do(t.Context(), http.MethodGet, tc.url, nil, "Authorization", tc.authorization, "X-Sendfile", "/etc/passwd"); err != nil || status != tc.status {
			t.Errorf("%s: %d %s, %v", name, status, raw, err)
		}
	}
}

// TestLFS_upload: what is not what it says, or breaks off, leaves nothing; many may bring the same at a time.
func TestLFS_upload(t *testing.T) {
	t.Parallel()
	p := newLFSProject(t, "private")
	data, oid := content(2, 200_000)
	other, _ := content(3, len(data))
	if status, answer := p.upload(oid, len(data), bytes.NewReader(other)); status != http.StatusBadRequest || answer != "SHA256 or size mismatch" {
		t.Errorf("other content: %d %s", status, answer)
	}
	if status, _ := p.upload(oid, len(data)-1, bytes.NewReader(data)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("more than announced: %d", status)
	}
	href, header := p.batch("upload", oid, len(data))
	breaking := io.MultiReader(bytes.NewReader(data[:1000]), brokenReader{})
	if _, _, _, err := p.do(t.Context(), http.MethodPut, href, breaking, "Authorization", header["Authorization"], "Content-Type", header["Content-Type"]); err == nil {
		t.Error("a body that broke off was sent")
	}
	if href, _ := p.batch("download", oid, len(data)); href != "" {
		t.Error("an object is there that nobody has uploaded")
	}
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			status, _, raw, err := p.do(t.Context(), http.MethodPut, href, bytes.NewReader(data), "Authorization", header["Authorization"], "Content-Type", header["Content-Type"])
			if err != nil || status != http.StatusOK {
				t.Errorf("at a time with others: %d %s, %v", status, raw, err)
			}
		})
	}
	all.Wait()
	if href, _ := p.batch("upload", oid, len(data)); href != "" {
		t.Error("the object is asked for again")
	}
}

// TestLFS_resumed: git-lfs goes on where a download ended.
func TestLFS_resumed(t *testing.T) {
	t.Parallel()
	p := newLFSProject(t, "private")
	data, oid := content(4, 3_000_000)
	if status, answer := p.upload(oid, len(data), bytes.NewReader(data)); status != http.StatusOK {
		t.Fatalf("upload: %d %s", status, answer)
	}
	home, repo := filepath.Join(t.TempDir(), "home"), filepath.Join(t.TempDir(), "repo")
	if err := user.NewHome(t.Context(), shared, home); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), args[0], args[1:]...) //nolint:gosec // test
		cmd.Env = append(append(os.Environ(), p.owner.Env(home)...), "GIT_TRACE=1", "GIT_TRANSFER_TRACE=1")
		if args[1] != "init" {
			cmd.Dir = repo
		}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("git", "init", "-q", repo)
	run("git", "lfs", "install", "--local")
	run("git", "remote", "add", "origin", p.url)
	pointer := fmt.Sprintf("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize %d\n", oid, len(data))
	if err := os.WriteFile(filepath.Join(repo, "a.dat"), []byte(pointer), 0o600); err != nil {
		t.Fatal(err)
	}
	run("git", "add", ".")
	run("git", "commit", "-q", "-m", "one")
	incomplete := filepath.Join(repo, ".git", "lfs", "incomplete")
	if err := os.MkdirAll(incomplete, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(incomplete, oid+".part"), data[:2_000_000], 0o600); err != nil {
		t.Fatal(err)
	}
	out := run("git", "lfs", "fetch", "origin", "HEAD")
	got, err := os.ReadFile(filepath.Join(repo, ".git", "lfs", "objects", oid[:2], oid[2:4], oid))
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v\n%s", len(got), err, out)
	}
	if !bytes.Contains([]byte(out), []byte("server accepted resume download request")) {
		t.Errorf("the download began anew:\n%s", out)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, fmt.Errorf("the client leaves") }
