package method_test

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
)

func TestOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		op      gitalypb.OperationMsg_Operation
		mutates bool
		target  bool
	}{
		{"/gitaly.SSHService/SSHReceivePack", gitalypb.OperationMsg_MUTATOR, true, true},
		{"/gitaly.RefService/RefExists", gitalypb.OperationMsg_ACCESSOR, false, true},
		{"/gitaly.RepositoryService/OptimizeRepository", gitalypb.OperationMsg_MAINTENANCE, false, true},
		{"/gitaly.ServerService/ServerInfo", gitalypb.OperationMsg_UNKNOWN, false, false}, // of an intercepted service
		{"/grpc.health.v1.Health/Check", gitalypb.OperationMsg_UNKNOWN, false, false},
		{"/gitaly.RefService/None", gitalypb.OperationMsg_UNKNOWN, false, false},
		{"", gitalypb.OperationMsg_UNKNOWN, false, false},
	} {
		m := method.Of(tc.name)
		if m.Op != tc.op || m.Mutates() != tc.mutates || (len(m.Target) > 0) != tc.target {
			t.Errorf("%q: %+v", tc.name, m)
		}
	}
}

// TestMethod_Repository sets the target in a request of each RPC by the way found
// and reads it back; an RPC about one repository must have such a way.
func TestMethod_Repository(t *testing.T) {
	t.Parallel()
	want := &gitalypb.Repository{StorageName: "default", RelativePath: "a.git"}
	seen := 0
	for name, rpc := range rpcs() {
		m := method.Of(name)
		if len(m.Target) == 0 {
			if m.Op != gitalypb.OperationMsg_UNKNOWN && m.Scope == gitalypb.OperationMsg_REPOSITORY {
				t.Errorf("%s: no way to its repository", name)
			}
			continue
		}
		req := request(t, rpc)
		if got := m.Repository(req); got != nil {
			t.Errorf("%s: empty request names %v", name, got)
		}
		at := req.ProtoReflect()
		for _, field := range m.Target[:len(m.Target)-1] {
			at = at.Mutable(field).Message()
			if got := m.Repository(req); got != nil {
				t.Errorf("%s: request with only %s names %v", name, field.Name(), got)
			}
		}
		at.Set(m.Target[len(m.Target)-1], protoreflect.ValueOfMessage(want.ProtoReflect()))
		if got := m.Repository(req); got != want {
			t.Errorf("%s: names %v", name, got)
		}
		seen++
	}
	if seen < 40 {
		t.Errorf("%d RPCs have a repository", seen)
	}
	if got := method.Of("/gitaly.RefService/RefExists").Repository(&gitalypb.WriteRefRequest{Repository: want}); got != nil {
		t.Errorf("request of another RPC: %v", got)
	}
	if got := method.Of("/gitaly.RefService/RefExists").Repository("text"); got != nil {
		t.Errorf("no message: %v", got)
	}
}

func rpcs() map[string]protoreflect.MethodDescriptor {
	found := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("gitaly", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				rpc := s.Methods().Get(j)
				found["/"+string(s.FullName())+"/"+string(rpc.Name())] = rpc
			}
		}
		return true
	})
	return found
}

func request(t *testing.T, rpc protoreflect.MethodDescriptor) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(rpc.Input().FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}
