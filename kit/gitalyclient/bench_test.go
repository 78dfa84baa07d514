package gitalyclient_test

import (
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"gitsplit/kit/gitalyclient"
	"gitsplit/kit/pktline"
	"gitsplit/kit/sidechannel"
	"gitsplit/kit/streamio"
	"gitsplit/proto/go/gitalypb"
)

const packSize = 64 << 20

// zeros is a pack of n bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(p []byte) (int, error) { return len(p), nil }

// BenchmarkSSHUploadPack and BenchmarkSSHReceivePack show that what a relay allocates does not grow with a pack.
func BenchmarkSSHUploadPack(b *testing.B) {
	conn := start(b, &fakeGitaly{uploadPack: sidechannelled(func(c *sidechannel.Conn) error {
		_, err := io.Copy(pktline.NewBandWriter(c, pktline.BandData), zeros(packSize))
		return err
	})})
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := gitalyclient.SSHUploadPack(b.Context(), conn, request, strings.NewReader(""), io.Discard, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSSHReceivePack(b *testing.B) {
	conn := start(b, &fakeGitaly{receivePack: func(s receiveStream) error {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, streamio.NewReceiver(s, req, "stdin"))
		return err
	}})
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gitalyclient.SSHReceivePack(b.Context(), conn, first, zeros(packSize), io.Discard, io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPostReceivePack(b *testing.B) {
	conn := start(b, &fakeGitaly{postReceive: func(s grpc.BidiStreamingServer[gitalypb.PostReceivePackRequest, gitalypb.PostReceivePackResponse]) error {
		req, err := s.Recv()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, streamio.NewReceiver(s, req, "data"))
		return err
	}})
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		if err := gitalyclient.PostReceivePack(b.Context(), conn, &gitalypb.PostReceivePackRequest{}, zeros(packSize), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPostUploadPack answers a small request with a pack.
func BenchmarkPostUploadPack(b *testing.B) {
	conn := start(b, &fakeGitaly{postUpload: sidechannelled(func(c *sidechannel.Conn) error {
		if _, err := io.ReadAll(c); err != nil {
			return err
		}
		_, err := io.Copy(c, zeros(packSize))
		return err
	})})
	b.SetBytes(packSize)
	b.ReportAllocs()
	for b.Loop() {
		req := &gitalypb.PostUploadPackWithSidechannelRequest{}
		if err := gitalyclient.PostUploadPack(b.Context(), conn, req, strings.NewReader("want"), io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
