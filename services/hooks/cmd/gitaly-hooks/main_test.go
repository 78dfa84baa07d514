package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"gitsplit/kit/hookpayload"
	"gitsplit/proto/go/gitalypb"
)

// maxSize keeps the program small: what is linked in is read and initialised at
// each of its many starts.
const maxSize = 15 << 20

// build makes the program as it is installed.
func build(tb testing.TB) string {
	tb.Helper()
	bin := filepath.Join(tb.TempDir(), "reference-transaction")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "grpcnotrace", "-o", bin, ".")
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

// BenchmarkStart measures a start that ends before gitaly is asked.
func BenchmarkStart(b *testing.B) {
	bin := build(b)
	entry, err := hookpayload.Payload{Repository: &gitalypb.Repository{StorageName: "default", RelativePath: "r.git"}}.Env()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		cmd := exec.CommandContext(context.Background(), bin, "preparing")
		cmd.Env = []string{entry}
		if err := cmd.Run(); err != nil {
			b.Fatal(err)
		}
	}
}
