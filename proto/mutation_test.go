package proto_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"gitsplit/proto/go/gitalypb"
)

// TestContract_noticesEveryKindOfSlip breaks a copy of our descriptors in one
// place and expects the comparison to name that place and nothing else.
func TestContract_noticesEveryKindOfSlip(t *testing.T) {
	t.Parallel()
	push := func(f *descriptorpb.FileDescriptorProto) *descriptorpb.DescriptorProto {
		return messageNamed(t, f, "SSHReceivePackRequest")
	}
	tests := []struct {
		name string
		slip func(f *descriptorpb.FileDescriptorProto)
		want []string
	}{
		{"field renumbered", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field[2].Number = proto.Int32(30)
		}, []string{"extra field gitaly.SSHReceivePackRequest 30", "missing field gitaly.SSHReceivePackRequest 3"}},
		{"field missing", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field = push(f).Field[:6]
		}, []string{"missing field gitaly.SSHReceivePackRequest 7"}},
		{"field added", func(f *descriptorpb.FileDescriptorProto) {
			extra := proto.CloneOf(push(f).Field[1])
			extra.Name, extra.JsonName, extra.Number = proto.String("more"), proto.String("more"), proto.Int32(9)
			push(f).Field = append(push(f).Field, extra)
		}, []string{"extra field gitaly.SSHReceivePackRequest 9"}},
		{"field renamed", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field[1].Name = proto.String("input")
		}, []string{"changed field gitaly.SSHReceivePackRequest 2"}},
		{"type changed", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field[1].Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
		}, []string{"changed field gitaly.SSHReceivePackRequest 2"}},
		{"label changed", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field[6].Label = descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()
		}, []string{"changed field gitaly.SSHReceivePackRequest 7"}},
		{"target lost", func(f *descriptorpb.FileDescriptorProto) {
			push(f).Field[0].Options = nil
		}, []string{"changed field gitaly.SSHReceivePackRequest 1", "changed method gitaly.SSHService/SSHReceivePack"}},
		{"stream lost", func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method[1].ClientStreaming = proto.Bool(false)
		}, []string{"changed method gitaly.SSHService/SSHReceivePack"}},
		{"operation changed", func(f *descriptorpb.FileDescriptorProto) {
			op := &gitalypb.OperationMsg{Op: gitalypb.OperationMsg_ACCESSOR}
			proto.SetExtension(f.Service[0].Method[1].Options, gitalypb.E_OpType, op)
		}, []string{"changed method gitaly.SSHService/SSHReceivePack"}},
		{"method missing", func(f *descriptorpb.FileDescriptorProto) {
			f.Service[0].Method = f.Service[0].Method[1:]
		}, []string{"missing method gitaly.SSHService/SSHUploadPackWithSidechannel"}},
	}
	want := readContract(t).facts()
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			set := compiled(t)
			for _, f := range set.GetFile() {
				if f.GetName() == "gitaly/ssh.proto" {
					tc.slip(f)
				}
			}
			checkDiff(t, tc.want, diff(want, describe(t, set)))
		})
	}
}

func checkDiff(tb testing.TB, want, got []string) {
	tb.Helper()
	if len(got) != len(want) {
		tb.Fatalf("got %d differences, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, w := range want {
		if !strings.HasPrefix(got[i], w+":") {
			tb.Errorf("difference %d: got %q, want it to begin with %q", i, got[i], w)
		}
	}
}

func messageNamed(tb testing.TB, f *descriptorpb.FileDescriptorProto, name string) *descriptorpb.DescriptorProto {
	tb.Helper()
	for _, m := range f.GetMessageType() {
		if m.GetName() == name {
			return m
		}
	}
	tb.Fatalf("no message %q in %q", name, f.GetName())
	return nil
}
