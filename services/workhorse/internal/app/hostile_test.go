package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
)

// gitaly dies while it sends and while it receives: what was begun ends early, what
// was not is an error, and a gitaly that is back is used at once.
func TestGitaly_diesMidTransfer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	work := s.work()
	git(t, work, "push", "-q", "origin", "main")
	srv := s.gitaly.srv
	s.gitaly.postUpload = func(ctx context.Context, c *sidechannel.Conn) error {
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(c, "%04x%s", 9, "half\n"); err != nil {
			return err
		}
		go srv.Stop()
		<-ctx.Done()
		return ctx.Err()
	}
	out, err := tryGit(t, "", "clone", s.remote(), filepath.Join(t.TempDir(), "clone"))
	if err == nil || !strings.Contains(out, "fatal: ") {
		t.Errorf("clone from a gitaly that dies: %v\n%s", err, out)
	}
	if !strings.Contains(s.log.String(), "git request failed") {
		t.Error("the failure is not in the log")
	}

	s.gitaly.postUpload = nil
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		go srv.Stop()
		<-stream.Context().Done()
		return stream.Context().Err()
	}
	within(t, s.gitaly.ended, "gitaly to be gone")
	s.gitaly.serve(t)
	srv = s.gitaly.srv
	for reached := false; !reached; { // gRPC pauses before it connects again
		res, body := s.do("POST", pushPath, io.LimitReader(zeros{}, 4<<20), "Content-Type", pushType)
		if res.StatusCode != 500 || body != "" {
			t.Fatalf("push to a gitaly that dies: %d %q, want 500 without body", res.StatusCode, body)
		}
		select {
		case <-s.gitaly.ended:
			reached = true
		case <-time.After(50 * time.Millisecond):
		}
	}

	s.gitaly.postReceive = nil
	within(t, s.gitaly.ended, "gitaly to be gone")
	s.gitaly.serve(t)
	s.commit(work, "b", []byte("b"))
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if out, err = tryGit(t, work, "push", "-q", "origin", "main"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("push to a gitaly that is back: %v\n%s", err, out)
		}
	}
}

// TestInfoRefs_failsMidAnswer: references that gitaly says were not all are not taken for all, with and without compression.
func TestInfoRefs_failsMidAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	git(t, s.work(), "push", "-q", "origin", "main")
	s.gitaly.advertised = func() error { return status.Error(codes.Internal, "signal: killed") }
	for _, version := range []string{"0", "2"} {
		if out, err := tryGit(t, "", "-c", "protocol.version="+version, "ls-remote", s.remote()); err == nil || !strings.Contains(err.Error(), "exit status") {
			t.Errorf("ls-remote by protocol %s: %v\n%s", version, err, out)
		}
	}
	for _, coding := range []string{"identity", "gzip"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base()+refsPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("root", "password")
		req.Header.Set("Accept-Encoding", coding)
		res, err := client(t, "").Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusOK || err == nil {
			t.Errorf("%s: status %d, and the answer ends with %v", coding, res.StatusCode, err)
		}
		_ = res.Body.Close()
	}
}

// TestGitaly_failsMidAnswer: git whose child at gitaly is killed after it has said
// something ends with an error. It would wait for ever for the rest of an answer whose
// end looked good.
func TestGitaly_failsMidAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	work := s.work()
	git(t, work, "push", "-q", "origin", "main")
	const said = "001a\x02checking the push...\n"
	killed := status.Error(codes.Internal, "signal: killed")
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		for {
			if _, err := stream.Recv(); err != nil {
				break
			}
		}
		return errors.Join(stream.Send(&gitalypb.PostReceivePackResponse{Data: []byte(said)}), killed)
	}
	s.commit(work, "b", []byte("b"))
	if out, err := tryGit(t, work, "push", "origin", "main"); err == nil || !strings.Contains(out, "checking the push") || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("push whose git is killed: %v\n%s", err, out)
	}
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		_, err := io.Copy(io.Discard, c)
		return errors.Join(err, pktline.Write(c, []byte("NAK\n")), killed)
	}
	if out, err := tryGit(t, "", "-c", "protocol.version=0", "clone", s.remote(), filepath.Join(t.TempDir(), "clone")); err == nil || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("clone whose git is killed: %v\n%s", err, out)
	}
}

// A client that sends its head byte by byte is cut off after ten seconds, however
// busy it looks.
func TestSlowHead(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	c := dialRaw(t, s.at())
	c.send("GET /a HTTP/1.1\r\nHost: x\r\n")
	began := time.Now()
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		_, _ = io.Copy(io.Discard, c) // whether it ends or is reset
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-cut:
			if took := time.Since(began); took < 5*time.Second {
				t.Errorf("cut off after %v already", took)
			}
			return
		case <-tick.C:
			_, _ = io.WriteString(c, "X") // fails once it is cut off
		}
	}
}

// A head may be large, within bounds; beyond them it is refused before any route is
// looked for.
func TestLargeHead(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for size, want := range map[int]int{30 << 10: 200, 90 << 10: 431, 10 << 20: 431} {
		c := dialRaw(t, s.at())
		go func() { // the server may close before it has read everything
			_, _ = io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Large: "+strings.Repeat("x", size)+"\r\n\r\n")
		}()
		line, err := c.br.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, fmt.Sprintf("HTTP/1.1 %d ", want)) {
			t.Errorf("a header of %d bytes: %q, %v; want %d", size, line, err, want)
		}
	}
}
