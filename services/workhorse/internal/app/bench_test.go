package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc"

	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
)

const benchSize = 256 << 20

// BenchmarkUploadPack is the answer to a fetch, from a gitaly that has it ready.
func BenchmarkUploadPack(b *testing.B) {
	s := start(b, nil)
	piece := make([]byte, 64<<10)
	s.gitaly.postUpload = func(_ context.Context, c *sidechannel.Conn) error {
		if _, err := io.Copy(io.Discard, c); err != nil {
			return err
		}
		for range benchSize / len(piece) {
			if _, err := c.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		s.bench(b, fetchPath, fetchType, 4)
	}
}

// BenchmarkReceivePack is a push to a gitaly that throws it away.
func BenchmarkReceivePack(b *testing.B) {
	s := start(b, nil)
	s.gitaly.postReceive = func(stream grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		for {
			if _, err := stream.Recv(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	b.SetBytes(benchSize)
	for b.Loop() {
		s.bench(b, pushPath, pushType, benchSize)
	}
}

// BenchmarkInfoRefs is one small request through all layers and a git process.
func BenchmarkInfoRefs(b *testing.B) {
	s := start(b, nil)
	c := client(b, "")
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), "GET", s.base()+refsPath, nil)
		if err != nil {
			b.Fatal(err)
		}
		req.SetBasicAuth("root", "password")
		if res, _ := send(b, c, req); res.StatusCode != 200 {
			b.Fatalf("answer %d", res.StatusCode)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func (s *setup) bench(b *testing.B, path, contentType string, size int64) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), "POST", s.base()+path, io.LimitReader(zeros{}, size))
	if err != nil {
		b.Fatal(err)
	}
	req.SetBasicAuth("root", "password")
	req.Header.Set("Content-Type", contentType)
	res, err := client(b, "").Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if _, err = io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		b.Fatalf("answer %d, %v", res.StatusCode, err)
	}
	_ = res.Body.Close()
}
