package app_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"gitsplit/kit/correlation"
	"gitsplit/kit/internalapi"
	"gitsplit/proto/go/gitalypb"
)

func TestGit_clone(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	for _, version := range []string{"0", "1", "2"} {
		t.Run("protocol version "+version, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "clone")
			w.git(t, "", "-c", "protocol.version="+version, "clone", "-q", w.url(), dir)
			if got, err := os.ReadFile(filepath.Join(dir, "hello.txt")); err != nil || string(got) != "hello\n" {
				t.Errorf("cloned file: got %q (%v)", got, err)
			}
		})
	}
}

func TestGit_pushAndFetch(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	clone := filepath.Join(t.TempDir(), "clone")
	w.git(t, "", "clone", "-q", w.url(), clone)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // over every buffer and window
	for i := range big {
		big[i] ^= byte(i >> 7)
	}
	if err := os.WriteFile(filepath.Join(clone, "big"), big, 0o600); err != nil {
		t.Fatal(err)
	}
	w.git(t, clone, "add", ".")
	w.git(t, clone, "-c", "core.compression=0", "commit", "-q", "-m", "second")
	w.git(t, clone, "push", "-q", "origin", "main", "main:topic")
	if got, want := w.git(t, w.repo, "rev-parse", "topic"), w.git(t, clone, "rev-parse", "HEAD"); got != want {
		t.Errorf("pushed commit: got %s, want %s", got, want)
	}
	second := filepath.Join(t.TempDir(), "clone")
	w.git(t, "", "clone", "-q", "--depth=1", "--filter=blob:none", w.url(), second)
	if got, err := os.ReadFile(filepath.Join(second, "big")); err != nil || !bytes.Equal(got, big) {
		t.Errorf("the big file came back with %d bytes (%v)", len(got), err)
	}
	w.git(t, clone, "push", "-q", "origin", ":topic")
	w.git(t, w.repo, "fsck", "--strict")
}

func TestGit_archive(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	files := tar.NewReader(strings.NewReader(w.git(t, "", "archive", "--remote="+w.url(), "main")))
	var names []string
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
	}
	if diff := cmp.Diff([]string{"pax_global_header", "hello.txt"}, names); diff != "" && len(names) != 1 {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

func TestGit_joinedSpelling(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	cmd := w.gitCommand(t, "", "ls-remote", "--upload-pack=git upload-pack", w.url())
	if got := capture(t, cmd); got.exit != 0 || !strings.Contains(got.stdout, "refs/heads/main") {
		t.Errorf("ls-remote: %+v", got)
	}
}

// What the neighbours are told, and that one correlation id runs through it all.
func TestGit_whatTheNeighboursGet(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	w.git(t, "", "-c", "protocol.version=2", "ls-remote", w.url())

	keys, allowed, calls := w.api.Hits(internalapi.PathAuthorizedKeys), w.api.Hits(allowedPath), w.gitaly.Calls()
	if len(keys) != 1 || len(allowed) != 1 || len(calls) != 1 {
		t.Fatalf("%d key look-ups, %d access checks, %d RPCs; want one each", len(keys), len(allowed), len(calls))
	}
	want := `{"action":"git-upload-pack","project":"/group/app.git","changes":"_any","protocol":"ssh","key_id":"7","check_ip":"127.0.0.1"}`
	if diff := cmp.Diff(want, allowed[0].Body); diff != "" {
		t.Errorf("access check (-want +got):\n%s", diff)
	}
	repository := &gitalypb.Repository{
		StorageName: "default", RelativePath: relativePath, GlRepository: "project-26", GlProjectPath: "group/app",
	}
	var request proto.Message = &gitalypb.SSHUploadPackWithSidechannelRequest{
		Repository: repository, GitProtocol: "version=2", GitConfigOptions: []string{"uploadpack.allowFilter=true"},
	}
	if diff := cmp.Diff(request, calls[0].Request, protocmp.Transform()); diff != "" {
		t.Errorf("gitaly request (-want +got):\n%s", diff)
	}
	id := keys[0].CorrelationID
	line := w.log.await(t, "access")
	if id == "" || allowed[0].CorrelationID != id || line["correlation_id"] != id {
		t.Errorf("correlation ids: %q, %q, %v", id, allowed[0].CorrelationID, line["correlation_id"])
	}
	for key, want := range map[string]string{
		correlation.MetadataKey: id, "x-gitlab-client-name": "gitlab-sshd-git-upload-pack",
		"key_id": "7", "key_type": "key", "user_id": "user-3", "username": "ada",
		"remote_ip": line["remote_addr"].(string), "gitaly-feature-some-thing": "true", "other": "",
	} {
		if got := strings.Join(calls[0].Metadata.Get(key), ","); got != want {
			t.Errorf("metadata %s: got %q, want %q", key, got, want)
		}
	}
	if got := strings.Join(calls[0].Metadata.Get("authorization"), ","); !strings.HasPrefix(got, "Bearer v2.") {
		t.Errorf("authorization: got %q", got)
	}
	for key, want := range map[string]any{
		"service": "gitlab-sshd", "command": "git-upload-pack", "user": "ada", "project": "group/app", "exit_status": 0.0,
	} {
		if line[key] != want {
			t.Errorf("access line: %s is %v, want %v", key, line[key], want)
		}
	}
	for _, key := range []string{"started_at", "duration_ms", "handshake_ms", "key_ms", "access_ms", "git_ms", "bytes_in", "bytes_out"} {
		if line[key] == nil {
			t.Errorf("access line: no %s in %v", key, line)
		}
	}
}

func TestGit_pushRequest(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	clone := filepath.Join(t.TempDir(), "clone")
	w.git(t, "", "clone", "-q", w.repo, clone)
	w.git(t, clone, "push", "-q", w.url(), "main:topic")
	calls := w.gitaly.Calls()
	if len(calls) != 1 {
		t.Fatalf("%d RPCs, want one", len(calls))
	}
	var want proto.Message = &gitalypb.SSHReceivePackRequest{
		Repository: &gitalypb.Repository{
			StorageName: "default", RelativePath: relativePath, GlRepository: "project-26", GlProjectPath: "group/app",
		},
		GlId: "key-7", GlRepository: "project-26", GlUsername: "ada", GitProtocol: "version=2",
		GitConfigOptions: []string{"uploadpack.allowFilter=true"},
	}
	got := calls[0].Request.(*gitalypb.SSHReceivePackRequest)
	got.GitProtocol = "version=2" // git sends it for pushes since 2.41 only
	if diff := cmp.Diff(want, proto.Message(got), protocmp.Transform()); diff != "" {
		t.Errorf("gitaly request (-want +got):\n%s", diff)
	}
}

func TestGit_consoleMessages(t *testing.T) {
	t.Parallel()
	w := start(t, "")
	w.seed(t)
	answer := w.allowed()
	answer.ConsoleMessages = []string{"Maintenance at 18:00", "Mind the gap"}
	w.api.Answer(allowedPath, 200, answer)
	got := capture(t, w.gitCommand(t, "", "ls-remote", w.url()))
	want := "remote: \nremote: Maintenance at 18:00\nremote: Mind the gap\nremote: \n"
	if got.exit != 0 || got.stderr != want {
		t.Errorf("ls-remote: %+v, want stderr %q", got, want)
	}
}
