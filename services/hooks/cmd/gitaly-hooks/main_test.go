package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
)

// maxSize keeps the program small: what is linked in is read and initialised at
// each of its many starts.
const maxSize = 8 << 20

// build makes the program as it is installed.
func build(tb testing.TB) string {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), "pre-receive")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, ".")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

func TestSize(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxSize {
		t.Errorf("gitaly-hooks is %d bytes, at most %d are fine", info.Size(), maxSize)
	}
	t.Logf("gitaly-hooks is %.1f MiB", float64(info.Size())/(1<<20))
}

// yes is a gitaly that permits everything.
type yes struct {
	gitalypb.UnimplementedHookServiceServer
}

func (yes) PreReceiveHook(stream gitalypb.HookService_PreReceiveHookServer) error {
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return stream.Send(&gitalypb.PreReceiveHookResponse{ExitStatus: &gitalypb.ExitStatus{}})
		} else if err != nil {
			return err
		}
	}
}

// BenchmarkHook measures a hook from exec to exit, as git sees it: one that has
// nothing to ask, and one that asks gitaly. Five milliseconds are the aim.
func BenchmarkHook(b *testing.B) {
	bin, socket := build(b), filepath.Join(b.TempDir(), "s")
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	gitalypb.RegisterHookServiceServer(srv, yes{})
	go func() { _ = srv.Serve(ln) }()
	b.Cleanup(srv.Stop)
	for _, bm := range []struct {
		name  string
		hooks hookpayload.Hook
	}{{"idle", hookpayload.PostReceive}, {"asks", hookpayload.PreReceive}} {
		b.Run(bm.name, func(b *testing.B) {
			entry, err := hookpayload.Payload{
				RequestedHooks: bm.hooks, InternalSocket: socket, InternalSocketToken: "token",
				Repository: &gitalypb.Repository{StorageName: "default", RelativePath: "r.git"},
			}.Env()
			if err != nil {
				b.Fatal(err)
			}
			var cpu time.Duration
			for b.Loop() {
				cmd := exec.CommandContext(context.Background(), bin)
				cmd.Env, cmd.Stdin = []string{entry}, strings.NewReader("old new refs/heads/x\n")
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N)/1000, "cpu-ms/op")
		})
	}
}
