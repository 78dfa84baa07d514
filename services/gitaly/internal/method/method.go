// Package method knows what the protocol's descriptors say of each RPC: whether it
// changes a repository, and where in its request that repository is named (the
// options of gitaly/lint.proto). So limits, caches and housekeeping work for every
// RPC without a list of their own; what only wants to know how RPCs ended is Outcomes.
package method

import (
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gitsplit/proto/go/gitalypb"
)

// Method is what is known of one RPC. The zero value is an RPC of another protocol,
// health or reflection: it acts on no repository.
type Method struct {
	Op    gitalypb.OperationMsg_Operation // UNKNOWN for the zero value
	Scope gitalypb.OperationMsg_Scope
	// Target leads from the request to the repository that the RPC acts on; it is
	// empty for RPCs without one.
	Target []protoreflect.FieldDescriptor
}

// Of returns the RPC of a full name, "/gitaly.SSHService/SSHReceivePack".
func Of(fullName string) Method { return all()[fullName] }

// Mutates reports whether the RPC may change what a reader of its repository sees.
func (m Method) Mutates() bool {
	return m.Op == gitalypb.OperationMsg_MUTATOR && len(m.Target) > 0
}

// Repository returns the repository that a request names as its target, nil when it
// names none. Of a stream that is the first request.
func (m Method) Repository(req any) *gitalypb.Repository {
	msg, ok := req.(proto.Message)
	if !ok || len(m.Target) == 0 || msg.ProtoReflect().Descriptor() != m.Target[0].ContainingMessage() {
		return nil
	}
	at := msg.ProtoReflect()
	for _, field := range m.Target {
		if !at.Has(field) {
			return nil
		}
		at = at.Get(field).Message()
	}
	repo, _ := at.Interface().(*gitalypb.Repository)
	return repo
}

// all reads the descriptors once.
var all = sync.OnceValue(func() map[string]Method {
	methods := map[string]Method{}
	protoregistry.GlobalFiles.RangeFilesByPackage(gitalypb.File_gitaly_lint_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				rpc := service.Methods().Get(j)
				methods[fullName(rpc)] = read(rpc)
			}
		}
		return true
	})
	return methods
})

func fullName(rpc protoreflect.MethodDescriptor) string {
	name := string(rpc.FullName())
	dot := strings.LastIndexByte(name, '.')
	return "/" + name[:dot] + "/" + name[dot+1:]
}

func read(rpc protoreflect.MethodDescriptor) Method {
	m := Method{Target: find(rpc.Input(), gitalypb.E_TargetRepository, maxDepth)}
	if op, ok := proto.GetExtension(rpc.Options(), gitalypb.E_OpType).(*gitalypb.OperationMsg); ok {
		m.Op, m.Scope = op.GetOp(), op.GetScopeLevel()
	}
	return m
}

// maxDepth is how far down in a request the target is looked for: streams have it in
// the message of their header.
const maxDepth = 2

// find returns the way to the repository in the annotated field, which may be a
// wrapper such as ObjectPool that annotates the repository inside.
func find(msg protoreflect.MessageDescriptor, annotation protoreflect.ExtensionType, depth int) []protoreflect.FieldDescriptor {
	for i := range msg.Fields().Len() {
		field := msg.Fields().Get(i)
		if set, _ := proto.GetExtension(field.Options(), annotation).(bool); !set {
			continue
		}
		if field.Message().FullName() == repositoryName {
			return []protoreflect.FieldDescriptor{field}
		}
		if inner := find(field.Message(), gitalypb.E_Repository, 1); inner != nil {
			return append([]protoreflect.FieldDescriptor{field}, inner...)
		}
	}
	if depth == 1 {
		return nil
	}
	for i := range msg.Fields().Len() {
		field := msg.Fields().Get(i)
		if field.Message() == nil || field.Cardinality() == protoreflect.Repeated {
			continue
		}
		if inner := find(field.Message(), annotation, depth-1); inner != nil {
			return append([]protoreflect.FieldDescriptor{field}, inner...)
		}
	}
	return nil
}

// repositoryName is what every way to a target ends in.
var repositoryName = (*gitalypb.Repository)(nil).ProtoReflect().Descriptor().FullName()
