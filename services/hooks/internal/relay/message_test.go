package relay

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"gitsplit/kit/hookpayload"
	"gitsplit/kit/hookpayload/plain"
	"gitsplit/proto/go/gitalypb"
)

// TestMessages compares what is written here with what the generated types read.
func TestMessages(t *testing.T) {
	t.Parallel()
	repo := &gitalypb.Repository{
		StorageName: "default", RelativePath: "r.git", GitObjectDirectory: "objects/x", GitAlternateObjectDirectories: []string{"objects", ""},
		GlRepository: "project-26", GlProjectPath: "team/tool",
	}
	entry, err := hookpayload.Payload{Repository: repo, UserDetails: &hookpayload.UserDetails{
		Username: "ada", UserID: "key-7", Protocol: "ssh", RemoteIP: "192.0.2.1",
	}}.Env()
	if err != nil {
		t.Fatal(err)
	}
	environ := []string{entry, "", "A=b"}
	payload, plainRepo, err := decode(environ)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{payload: payload, repository: plainRepo, environ: environ}
	for _, tc := range []struct {
		got  message
		want proto.Message
	}{
		{c.first().list(5, []string{"o", ""}), &gitalypb.PreReceiveHookRequest{Repository: repo, EnvironmentVariables: environ, GitPushOptions: []string{"o", ""}}},
		{with(nil, 4, []byte("in")), &gitalypb.PreReceiveHookRequest{Stdin: []byte("in")}},
		{c.first().list(4, []string{"o"}), &gitalypb.PostReceiveHookRequest{Repository: repo, EnvironmentVariables: environ, GitPushOptions: []string{"o"}}},
		{with(nil, 3, []byte("in")), &gitalypb.PostReceiveHookRequest{Stdin: []byte("in")}},
		{with(with(with(c.first(), 3, "ref"), 4, "old"), 5, "new"), &gitalypb.UpdateHookRequest{
			Repository: repo, EnvironmentVariables: environ, Ref: []byte("ref"), OldValue: "old", NewValue: "new",
		}},
		{c.first().number(4, 2), &gitalypb.ReferenceTransactionHookRequest{Repository: repo, EnvironmentVariables: environ, State: gitalypb.ReferenceTransactionHookRequest_ABORTED}},
		{with(nil, 3, []byte("in")), &gitalypb.ReferenceTransactionHookRequest{Stdin: []byte("in")}},
		{c.packRequest([]string{"a", ""}), &gitalypb.PackObjectsHookWithSidechannelRequest{
			Repository: repo, Args: []string{"a", ""}, GlId: "key-7", GlUsername: "ada", GitProtocol: "ssh", RemoteIp: "192.0.2.1", EnvironmentVariables: environ,
		}},
		{always(nil, 1, repository(plain.Repository{})), &gitalypb.PreReceiveHookRequest{Repository: &gitalypb.Repository{}}},
	} {
		got := tc.want.ProtoReflect().New().Interface()
		if err := proto.Unmarshal(tc.got, got); err != nil {
			t.Errorf("%T: %v", tc.want, err)
		}
		if diff := cmp.Diff(tc.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%T (-want +got):\n%s", tc.want, diff)
		}
	}
}

func TestParseAnswer(t *testing.T) {
	t.Parallel()
	for _, m := range []*gitalypb.PreReceiveHookResponse{
		{},
		{Stdout: []byte("out")},
		{Stderr: []byte("err"), ExitStatus: &gitalypb.ExitStatus{}},
		{Stdout: make([]byte, 1000), Stderr: []byte{0xff}, ExitStatus: &gitalypb.ExitStatus{Value: -1}},
		{ExitStatus: &gitalypb.ExitStatus{Value: 128}},
	} {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, "\x7a\x01x\x79\x00\x00\x00\x00\x00\x00\x00\x00\x7d\x00\x00\x00\x00\x78\x80\x01"...) // fields of the future
		want := answer{stdout: m.GetStdout(), stderr: m.GetStderr(), ended: m.GetExitStatus() != nil, status: m.GetExitStatus().GetValue()}
		got, err := parseAnswer(raw)
		if err != nil {
			t.Errorf("%v: %v", m, err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
			t.Errorf("%v (-want +got):\n%s", m, diff)
		}
	}
	for _, raw := range []string{"\x0a", "\x0a\x05x", "\x00", "\x08", "\x09x", "\x0d", "\x0b", "\x1a\x01\x08", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if a, err := parseAnswer([]byte(raw)); err == nil {
			t.Errorf("%q is understood as %+v", raw, a)
		}
	}
}
