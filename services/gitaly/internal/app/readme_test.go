package app_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"gitsplit/proto/go/gitalypb"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// TestReadme: the table of RPCs in the README is what the server answers.
func TestReadme(t *testing.T) {
	t.Parallel()
	b := setup(t)
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)
	told := map[string][]string{} // what each service leaves out
	for _, row := range regexp.MustCompile(`(?m)^\| (\w+Service)\b.*? \| all.*?\|(.*)\|$`).FindAllStringSubmatch(string(text), -1) {
		list, _, _ := strings.Cut(row[2], " (")
		told[row[1]] = append(told[row[1]], name.FindAllString(list, -1)...)
	}
	protoregistry.GlobalFiles.RangeFilesByPackage(gitalypb.File_gitaly_shared_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			missing, ok := told[string(service.Name())]
			if !ok {
				t.Errorf("the README does not name %s", service.Name())
				continue
			}
			if service.Name() == "HookService" {
				continue // not on the external listener
			}
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				left := status.Code(b.poke(t, m)) == codes.Unimplemented
				if want := slices.Contains(missing, string(m.Name())); left != want {
					t.Errorf("%s: left out %v, and the README says %v", m.FullName(), left, want)
				}
			}
		}
		return true
	})
}

// poke calls an RPC with an empty request and returns how it ended.
func (b *bundle) poke(t *testing.T, m protoreflect.MethodDescriptor) error {
	t.Helper()
	stream, err := b.conn.NewStream(t.Context(), &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()},
		"/"+string(m.Parent().FullName())+"/"+string(m.Name()))
	if err != nil {
		return err
	}
	if err := stream.SendMsg(&emptypb.Empty{}); err == nil {
		_ = stream.CloseSend() // the answer tells
	}
	return stream.RecvMsg(&emptypb.Empty{})
}
