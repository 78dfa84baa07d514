package app_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"gitsplit/kit/sidechannel"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/method"
)

// badRepository is a row of the table in wire/gitaly.md §5.1.
type badRepository struct {
	name string
	repo *gitalypb.Repository
	code codes.Code
	text string
}

// badNames are wrong whatever is on disk.
var badNames = []badRepository{
	{"nil", nil, codes.InvalidArgument, "repository not set"},
	{"empty", &gitalypb.Repository{}, codes.InvalidArgument, "repository not set"},
	{"no path", &gitalypb.Repository{StorageName: "default"}, codes.InvalidArgument, "repository path not set"},
	{"no storage", &gitalypb.Repository{RelativePath: "good.git"}, codes.InvalidArgument, "storage name not set"},
	{"unknown storage", &gitalypb.Repository{StorageName: "x", RelativePath: "good.git"}, codes.InvalidArgument, "storage name not found"},
	{"above", repository("../good.git"), codes.InvalidArgument, "relative path escapes root directory"},
	{"above in the middle", repository("a/../../good.git"), codes.InvalidArgument, "relative path escapes root directory"},
	{"absolute", repository("/good.git"), codes.InvalidArgument, "relative path escapes root directory"},
	{"the storage itself", repository("."), codes.InvalidArgument, "relative path escapes root directory"},
	{"our own directory", repository("+gitaly/tmp"), codes.InvalidArgument, "relative path escapes root directory"},
	{"NUL", repository("good.git\x00"), codes.InvalidArgument, "relative path escapes root directory"},
}

// badPlaces are fine names of what is no repository.
var badPlaces = []badRepository{
	{"no directory", repository("none.git"), codes.NotFound, "repository not found"},
	{"path too long", repository(strings.Repeat("n", 5000)), codes.NotFound, "repository not found"},
	{"a file", repository("good.git/HEAD"), codes.NotFound, "repository not found"},
	{"below a file", repository("good.git/HEAD/x.git"), codes.NotFound, "repository not found"},
	{"symbolic link", repository("link.git"), codes.NotFound, "repository not found"},
	{"no objects", repository("objects.git"), codes.FailedPrecondition, `repository not valid: "objects" does not exist`},
	{"no refs", repository("refs.git"), codes.FailedPrecondition, `repository not valid: "refs" does not exist`},
	{"no HEAD", repository("HEAD.git"), codes.FailedPrecondition, `repository not valid: "HEAD" does not exist`},
}

// inPush is a fine name with the quarantine of a push, where nothing is written: what a
// reference needs would go with the push.
var inPush = badRepository{
	"in a push", &gitalypb.Repository{StorageName: "default", RelativePath: "good.git", GitObjectDirectory: "objects"},
	codes.InvalidArgument, "the repository must not have object directories",
}

// readsOnly is an RPC that the protocol takes for one that writes.
const readsOnly = "/gitaly.CommitService/CommitLanguages"

// noStorage is for a storage whose directory is gone.
var noStorage = badRepository{"storage is gone", repository("good.git"), codes.NotFound, "storage does not exist"}

// notNeeded are the RPCs that work without a repository at the place.
var notNeeded = map[string]string{
	"/gitaly.RepositoryService/CreateRepository":             "makes it",
	"/gitaly.RepositoryService/CreateRepositoryFromBundle":   "makes it",
	"/gitaly.RepositoryService/CreateRepositoryFromSnapshot": "makes it",
	"/gitaly.RepositoryService/CreateRepositoryFromURL":      "makes it",
	"/gitaly.RepositoryService/CreateFork":                   "makes it",
	"/gitaly.RepositoryService/ReplicateRepository":          "makes it",
	"/gitaly.RepositoryService/RestoreRepository":            "makes it",
	"/gitaly.ObjectPoolService/CreateObjectPool":             "makes it",
	"/gitaly.RepositoryService/RepositoryExists":             "its absence is the answer",
	"/gitaly.RepositoryService/RemoveRepository":             "removes what is left of a damaged one",
}

// firstOf is what an RPC wants to know before it looks at the repository.
var firstOf = map[string]proto.Message{
	"/gitaly.SSHService/SSHReceivePack":             &gitalypb.SSHReceivePackRequest{GlId: "key-1"},
	"/gitaly.SmartHTTPService/PostReceivePack":      &gitalypb.PostReceivePackRequest{GlId: "key-1"},
	"/gitaly.RepositoryService/CreateFork":          &gitalypb.CreateForkRequest{SourceRepository: repository("good.git")},
	"/gitaly.ObjectPoolService/CreateObjectPool":    &gitalypb.CreateObjectPoolRequest{Origin: repository("good.git")},
	"/gitaly.ObjectPoolService/FetchIntoObjectPool": &gitalypb.FetchIntoObjectPoolRequest{Origin: repository("good.git")},
}

// TestRepositoryOfRequest sends every bad repository to every RPC that acts on one.
// The RPCs come from the descriptors; those that answer Unimplemented are not there,
// and the hooks' are not on the external listener.
func TestRepositoryOfRequest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.create(t, "good.git")
	for _, missing := range []string{"objects", "refs", "HEAD"} {
		if err := os.RemoveAll(filepath.Join(b.create(t, missing+".git"), missing)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("good.git", filepath.Join(b.dir, "link.git")); err != nil {
		t.Fatal(err)
	}
	present := maps.Collect(func(yield func(string, protoreflect.MethodDescriptor) bool) {
		for name, rpc := range targeted() {
			if status.Code(b.call(t, name, rpc, nil)) != codes.Unimplemented && !yield(name, rpc) {
				return
			}
		}
	})
	if len(present) < 30 {
		t.Fatalf("only %d RPCs act on a repository", len(present))
	}
	check := func(name string, rows ...badRepository) {
		for _, row := range rows {
			row = row.of(name)
			err := b.call(t, name, present[name], row.repo)
			if status.Code(err) != row.code || status.Convert(err).Message() != row.text {
				t.Errorf("%s, %s: %v, want %v %q", name, row.name, err, row.code, row.text)
			}
		}
	}
	for name := range present {
		check(name, badNames...)
		if notNeeded[name] != "" {
			continue
		}
		check(name, badPlaces...)
		if method.Of(name).Op != gitalypb.OperationMsg_ACCESSOR && name != readsOnly {
			check(name, inPush)
		}
	}
	if err := os.Rename(b.dir, b.dir+".away"); err != nil {
		t.Fatal(err)
	}
	for name := range present {
		check(name, noStorage)
	}
	if err := os.Rename(b.dir+".away", b.dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(notNeeded)) {
		if present[name] == nil {
			t.Errorf("%s is not there", name)
		}
	}
}

// of is the row as an RPC answers it: those about pools have texts of their own.
func (row badRepository) of(name string) badRepository {
	if !strings.HasPrefix(name, "/gitaly.ObjectPoolService/") || method.Of(name).Target[0].Name() != "object_pool" || row == noStorage {
		return row
	}
	switch {
	case strings.HasSuffix(name, "/FetchIntoObjectPool") && row.repo.GetStorageName() != "default":
		row.text = "origin has different storage than object pool"
	case row.repo == nil:
		row.text = "no object pool repository"
	case slices.Contains(badPlaces, row), row == inPush: // no pool either
		row.code, row.text = codes.InvalidArgument, "invalid object pool directory"
	}
	return row
}

// targeted lists the RPCs of the protocol that act on a repository.
func targeted() map[string]protoreflect.MethodDescriptor {
	found := map[string]protoreflect.MethodDescriptor{}
	protoregistry.GlobalFiles.RangeFilesByPackage("gitaly", func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				name := "/" + string(s.FullName()) + "/" + string(s.Methods().Get(j).Name())
				if len(method.Of(name).Target) > 0 {
					found[name] = s.Methods().Get(j)
				}
			}
		}
		return true
	})
	return found
}

// call makes the RPC about repo, with nothing else in the request that it does not
// insist on, and returns how it ended.
func (b *bundle) call(t *testing.T, name string, rpc protoreflect.MethodDescriptor, repo *gitalypb.Repository) error {
	t.Helper()
	req, resp := newMessage(t, rpc.Input()), newMessage(t, rpc.Output())
	if first := firstOf[name]; first != nil {
		req = proto.Clone(first)
	}
	setTarget(req, name, repo)
	if !rpc.IsStreamingClient() && !rpc.IsStreamingServer() {
		return b.conn.Invoke(t.Context(), name, req, resp, sidechannelFor(name)...)
	}
	desc := &grpc.StreamDesc{ClientStreams: rpc.IsStreamingClient(), ServerStreams: rpc.IsStreamingServer()}
	stream, err := b.conn.NewStream(t.Context(), desc, name)
	if err != nil {
		return err
	}
	if err := stream.SendMsg(req); err != nil && !errors.Is(err, io.EOF) { // the end has the reason
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	for {
		if err := stream.RecvMsg(resp); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func sidechannelFor(name string) []grpc.CallOption {
	if !strings.HasSuffix(name, "WithSidechannel") {
		return nil
	}
	return []grpc.CallOption{sidechannel.With(func(c *sidechannel.ClientConn) error { return c.CloseWrite() })}
}

// setTarget names repo as the target of a request; the messages around it are
// there even without one.
func setTarget(req proto.Message, name string, repo *gitalypb.Repository) {
	at, way := req.ProtoReflect(), method.Of(name).Target
	for _, field := range way[:len(way)-1] {
		at = at.Mutable(field).Message()
	}
	if repo != nil {
		at.Set(way[len(way)-1], protoreflect.ValueOfMessage(repo.ProtoReflect()))
	}
}

func newMessage(t *testing.T, desc protoreflect.MessageDescriptor) proto.Message {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByName(desc.FullName())
	if err != nil {
		t.Fatal(err)
	}
	return kind.New().Interface()
}
