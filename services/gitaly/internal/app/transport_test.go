package app_test

import (
	"context"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/config"
	"gitsplit/kit/gitalyclient"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/app"
)

// TestUploadPack_slowClient: who does not come to the point is sent away.
func TestUploadPack_slowClient(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) {
		c.Timeout.UploadPackNegotiation = config.Duration(100 * time.Millisecond)
		c.Timeout.UploadArchiveNegotiation = config.Duration(100 * time.Millisecond)
	})
	b.create(t, rel)
	stdin, w := io.Pipe()
	defer func() { _ = w.Close() }()
	err := gitalyclient.SSHUploadPack(t.Context(), b.conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)}, stdin, io.Discard, io.Discard)
	if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != "waiting for negotiation: context canceled" {
		t.Errorf("upload-pack: %v", err)
	}
	_, err = gitalyclient.SSHUploadArchive(t.Context(), b.conn, &gitalypb.SSHUploadArchiveRequest{Repository: repository(rel)}, stdin, io.Discard, io.Discard)
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("upload-archive: %v", err)
	}
}

// TestTransfer_idle: a push that stands still is ended and leaves nothing.
func TestTransfer_idle(t *testing.T) {
	t.Parallel()
	b := setup(t, func(c *app.Config) { c.Timeout.TransferIdle = config.Duration(200 * time.Millisecond) })
	dir := b.create(t, rel)
	stdin, w := io.Pipe()
	defer func() { _ = w.Close() }()
	_, err := gitalyclient.SSHReceivePack(t.Context(), b.conn, &gitalypb.SSHReceivePackRequest{Repository: repository(rel), GlId: "key-1"}, stdin, io.Discard, io.Discard)
	if status.Code(err) != codes.DeadlineExceeded || status.Convert(err).Message() != "transfer was idle for too long" {
		t.Errorf("receive-pack: %v", err)
	}
	b.assertClean(t, dir)
}

func TestUploadPack_clientGone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, rel)
	err := gitalyclient.SSHUploadPack(t.Context(), b.conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)},
		strings.NewReader("0000"), io.Discard, io.Discard)
	if err != nil { // an empty repository has nothing to ask for
		t.Errorf("empty repository: %v", err)
	}
	c := b.client(t)
	c.commit(t, "a", "a")
	c.git(t, "push", "-q", remote(rel), "main")
	err = gitalyclient.SSHUploadPack(t.Context(), b.conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)},
		strings.NewReader(""), io.Discard, io.Discard)
	if status.Code(err) != codes.Canceled || status.Convert(err).Message() != "user canceled the request" {
		t.Errorf("hung up: %v", err)
	}
}

// TestClone_killed: a client that dies in the middle of a pack leaves no git behind.
func TestClone_killed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	c := b.client(t)
	make20MB := exec.CommandContext(t.Context(), "sh", "-c", "head -c 20000000 /dev/urandom > blob")
	make20MB.Dir = c.dir
	if err := make20MB.Run(); err != nil {
		t.Fatal(err)
	}
	c.commit(t, "a", "a")
	c.git(t, "push", "-q", remote(rel), "main")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdin, w := io.Pipe()
	out := &stoppingWriter{stop: cancel}
	go func() {
		id := c.git(t, "rev-parse", "HEAD")
		_, _ = io.WriteString(w, "0032want "+id+"\n00000009done\n")
	}()
	err := gitalyclient.SSHUploadPack(ctx, b.conn, &gitalypb.SSHUploadPackWithSidechannelRequest{Repository: repository(rel)}, stdin, out, io.Discard)
	if err == nil || out.n > 19_000_000 {
		t.Errorf("err = %v after %d bytes", err, out.n)
	}
	_ = w.Close()
	eventually(t, "no git works in the repository", func() bool {
		found, _ := exec.CommandContext(t.Context(), "pgrep", "-f", dir).Output()
		return len(found) == 0
	})
}

// stoppingWriter goes away after the first megabyte.
type stoppingWriter struct {
	n    int
	stop func()
}

func (s *stoppingWriter) Write(p []byte) (int, error) {
	if s.n += len(p); s.n > 1<<20 {
		s.stop()
		return 0, syscall.EPIPE
	}
	return len(p), nil
}
