package app_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
)

// bridgeKey holds gitaly's address when the test binary runs as ssh.
const bridgeKey = "GITALY_TEST_BRIDGE"

// bridge is what gitlab-sshd will be: git's streams on one side, gitaly on the
// other. The last argument is git's command: git-receive-pack '/repo.git'.
func bridge() int {
	verb, path, _ := strings.Cut(os.Args[len(os.Args)-1], " ")
	rel := strings.TrimPrefix(strings.Trim(path, "'"), "/")
	pool := gitalyclient.NewPool(gitalyclient.Options{ClientName: "test-ssh"})
	defer func() { _ = pool.Close() }()
	conn, err := pool.Conn(os.Getenv(bridgeKey), secretText)
	if err != nil {
		return fail(err)
	}
	ctx, protocol := context.Background(), os.Getenv("GIT_PROTOCOL")
	var code int32
	switch verb {
	case "git-receive-pack":
		code, err = gitalyclient.SSHReceivePack(ctx, conn, &gitalypb.SSHReceivePackRequest{
			Repository: repository(rel), GlId: "key-7", GlUsername: "ada", GitProtocol: protocol,
		}, os.Stdin, os.Stdout, os.Stderr)
	case "git-upload-pack":
		err = gitalyclient.SSHUploadPack(ctx, conn, &gitalypb.SSHUploadPackWithSidechannelRequest{
			Repository: repository(rel), GitProtocol: protocol,
		}, os.Stdin, os.Stdout, os.Stderr)
	case "git-upload-archive":
		code, err = gitalyclient.SSHUploadArchive(ctx, conn, &gitalypb.SSHUploadArchiveRequest{
			Repository: repository(rel),
		}, os.Stdin, os.Stdout, os.Stderr)
	default:
		err = fmt.Errorf("unknown command %q", verb)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bridge: %v\n", err)
		return max(1, int(code))
	}
	return int(code)
}

// httpBridge is what workhorse will be.
func (b *bundle) httpBridge(t testing.TB) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := b.serveHTTP(w, r); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

func (b *bundle) serveHTTP(w http.ResponseWriter, r *http.Request) error {
	protocol, body := r.Header.Get("Git-Protocol"), io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return err
		}
		body = z
	}
	switch rest := strings.TrimPrefix(r.URL.Path, "/"); {
	case strings.HasSuffix(rest, "/info/refs"):
		service := r.URL.Query().Get("service")
		w.Header().Set("Content-Type", "application/x-"+service+"-advertisement")
		return gitalyclient.InfoRefs(r.Context(), b.conn, service, &gitalypb.InfoRefsRequest{
			Repository: repository(strings.TrimSuffix(rest, "/info/refs")), GitProtocol: protocol,
		}, w)
	case strings.HasSuffix(rest, "/git-upload-pack"):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		return gitalyclient.PostUploadPack(r.Context(), b.conn, &gitalypb.PostUploadPackWithSidechannelRequest{
			Repository: repository(strings.TrimSuffix(rest, "/git-upload-pack")), GitProtocol: protocol,
		}, body, w)
	case strings.HasSuffix(rest, "/git-receive-pack"):
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
		return gitalyclient.PostReceivePack(r.Context(), b.conn, &gitalypb.PostReceivePackRequest{
			Repository: repository(strings.TrimSuffix(rest, "/git-receive-pack")), GlId: "user-1", GlUsername: "ada", GitProtocol: protocol,
		}, body, w)
	default:
		return fmt.Errorf("no route for %q", rest)
	}
}
