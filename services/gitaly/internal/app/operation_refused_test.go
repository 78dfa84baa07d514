package app_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// moving is an RPC that moves a reference for a user, and how it tells of a no.
type moving struct {
	call func(ctx context.Context) error
	// said is the message of the error, for the text of the hook; nil for those who
	// answer it in a good response.
	said func(text string) string
	// access and custom are the details about the internal API's no and a custom
	// hook's; nil for none.
	access func(*gitalypb.AccessCheckError) proto.Message
	custom func(*gitalypb.CustomHookError) proto.Message
}

func plain(text string) string { return text }

// movings are the RPCs, each with a call that nothing but a hook stands against. What
// has no error for a refusal makes one of the text that it answers.
func (x workshop) movings() map[string]moving {
	answer := func(text string) error {
		if text == "" {
			return nil
		}
		return errors.New(text)
	}
	return map[string]moving{
		"UserUpdateBranch": {call: func(ctx context.Context) error {
			resp, err := x.ops.UserUpdateBranch(ctx, &gitalypb.UserUpdateBranchRequest{Repository: x.repo, User: x.user, BranchName: []byte("main"), Oldrev: []byte(x.second), Newrev: []byte(x.side)})
			return errors.Join(err, answer(resp.GetPreReceiveError()))
		}},
		"UserDeleteTag": {call: func(ctx context.Context) error {
			resp, err := x.ops.UserDeleteTag(ctx, &gitalypb.UserDeleteTagRequest{Repository: x.repo, User: x.user, TagName: []byte("light")})
			return errors.Join(err, answer(resp.GetPreReceiveError()))
		}},
		"UserCreateBranch": {
			call: func(ctx context.Context) error {
				_, err := x.ops.UserCreateBranch(ctx, &gitalypb.UserCreateBranchRequest{Repository: x.repo, User: x.user, BranchName: []byte("b"), StartPoint: []byte("main")})
				return err
			},
			said: func(text string) string {
				if strings.HasPrefix(text, "GitLab: ") {
					return text
				}
				return "creation denied by custom hooks"
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserCreateBranchError{Error: &gitalypb.UserCreateBranchError_CustomHook{CustomHook: e}}
			},
		},
		"UserCreateTag": {
			call: func(ctx context.Context) error {
				_, err := x.ops.UserCreateTag(ctx, &gitalypb.UserCreateTagRequest{Repository: x.repo, User: x.user, TagName: []byte("v"), TargetRevision: []byte("main"), Message: []byte("m")})
				return err
			},
			said: func(text string) string {
				if strings.HasPrefix(text, "GitLab: ") {
					return "reference update denied by access checks: " + text
				}
				return "reference update denied by custom hooks: " + text
			},
			access: func(e *gitalypb.AccessCheckError) proto.Message {
				return &gitalypb.UserCreateTagError{Error: &gitalypb.UserCreateTagError_AccessCheck{AccessCheck: e}}
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserCreateTagError{Error: &gitalypb.UserCreateTagError_CustomHook{CustomHook: e}}
			},
		},
		"UserMergeBranch": {
			call: func(ctx context.Context) error {
				_, _, err := x.merge(ctx, &gitalypb.UserMergeBranchRequest{User: x.user, Branch: []byte("main"), CommitId: x.side, Message: []byte("m")}, true)
				return err
			},
			said: plain,
			access: func(e *gitalypb.AccessCheckError) proto.Message {
				return &gitalypb.UserMergeBranchError{Error: &gitalypb.UserMergeBranchError_AccessCheck{AccessCheck: e}}
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserMergeBranchError{Error: &gitalypb.UserMergeBranchError_CustomHook{CustomHook: e}}
			},
		},
		"UserFFBranch": {
			call: func(ctx context.Context) error {
				_, err := x.ops.UserFFBranch(ctx, &gitalypb.UserFFBranchRequest{Repository: x.repo, User: x.user, Branch: []byte("main"), CommitId: x.side})
				return err
			},
			said: plain,
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserFFBranchError{Error: &gitalypb.UserFFBranchError_CustomHook{CustomHook: e}}
			},
		},
		"UserCommitFiles": {
			call: func(ctx context.Context) error {
				_, err := x.commitFiles(ctx, x.header("main"), createFile("new", "x"))
				return err
			},
			said: func(text string) string {
				if strings.HasPrefix(text, "GitLab: ") {
					return text
				}
				return "denied by custom hooks: " + text
			},
			access: func(e *gitalypb.AccessCheckError) proto.Message {
				return &gitalypb.UserCommitFilesError{Error: &gitalypb.UserCommitFilesError_AccessCheck{AccessCheck: e}}
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserCommitFilesError{Error: &gitalypb.UserCommitFilesError_CustomHook{CustomHook: e}}
			},
		},
		"UserRevert": {
			call: func(ctx context.Context) error {
				_, err := x.ops.UserRevert(ctx, &gitalypb.UserRevertRequest{Repository: x.repo, User: x.user, Commit: commitID(x.left), BranchName: []byte("left"), Message: []byte("m")})
				return err
			},
			said: func(text string) string {
				if strings.HasPrefix(text, "GitLab: ") {
					return text
				}
				return "revert: custom hook error"
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserRevertError{Error: &gitalypb.UserRevertError_CustomHook{CustomHook: e}}
			},
		},
		"UserApplyPatch": {
			call: func(ctx context.Context) error {
				_, err := x.apply(ctx, func(*gitalypb.UserApplyPatchRequest_Header) {}, evil("good"))
				return err
			},
			said: func(text string) string {
				if strings.HasPrefix(text, "GitLab: ") {
					return text
				}
				return "denied by custom hooks"
			},
			custom: func(e *gitalypb.CustomHookError) proto.Message {
				return &gitalypb.UserApplyPatchError{Error: &gitalypb.UserApplyPatchError_CustomHook{CustomHook: e}}
			},
		},
	}
}

// refuse makes a call that must fail with the hook's text.
func (x workshop) refuse(t *testing.T, m moving, text string, detail proto.Message) {
	t.Helper()
	err := m.call(t.Context())
	if m.said == nil {
		if err == nil || err.Error() != text {
			t.Errorf("answer = %v, want %q", err, text)
		}
		return
	}
	s := status.Convert(err)
	if s.Code() != codes.PermissionDenied || s.Message() != m.said(text) {
		t.Errorf("err = %v, want %q", err, m.said(text))
	}
	got := statusDetail[proto.Message](err)
	if got != nil {
		clearChanges(got)
	}
	if (got == nil) != (detail == nil) || detail != nil && !proto.Equal(got, detail) {
		t.Errorf("detail = %v, want %v", got, detail)
	}
}

// clearChanges forgets the ids of commits that a refused operation has made.
func clearChanges(detail proto.Message) {
	if d, ok := detail.(interface {
		GetAccessCheck() *gitalypb.AccessCheckError
	}); ok && len(d.GetAccessCheck().GetChanges()) > 0 {
		d.GetAccessCheck().Changes = nil
	}
}

// TestOperation_refused: the internal API and custom hooks stop every operation, which
// leaves nothing and says in its own way who it was.
func TestOperation_refused(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	before := x.state(t)
	for name, m := range x.movings() {
		t.Run(name, func(t *testing.T) {
			x.api.set(func() { x.api.allowed = reply(401, `{"status":false,"message":"You are not allowed to."}`) })
			var detail proto.Message
			if m.access != nil {
				detail = m.access(&gitalypb.AccessCheckError{ErrorMessage: "You are not allowed to.", Protocol: "web", UserId: "user-1"})
			}
			x.refuse(t, m, "GitLab: You are not allowed to.", detail)

			x.api.set(func() { x.api.allowed = nil })
			x.hook(t, "pre-receive", "read old new ref\ncase $new in 0000*) ;; *) git cat-file -e $new || echo unseen ;; esac\necho said; echo GL-HOOK-ERR: no >&2; exit 1\n")
			if m.custom != nil {
				detail = m.custom(&gitalypb.CustomHookError{Stdout: []byte("said\n"), Stderr: []byte("GL-HOOK-ERR: no\n"), HookType: gitalypb.CustomHookError_HOOK_TYPE_PRERECEIVE})
			}
			x.refuse(t, m, "GL-HOOK-ERR: no\n", detail)
			x.settled(t)
			if after := x.state(t); after != before {
				t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
			}

			x.hook(t, "pre-receive", "exit 0\n")
			x.hook(t, "update", "echo \"$1\"; exit 1\n")
			stdout := "refs/heads/main\n"
			switch name {
			case "UserCreateBranch":
				stdout = "refs/heads/b\n"
			case "UserRevert":
				stdout = "refs/heads/left\n"
			case "UserCreateTag":
				stdout = "refs/tags/v\n"
			case "UserDeleteTag":
				stdout = "refs/tags/light\n"
			}
			if m.custom != nil {
				detail = m.custom(&gitalypb.CustomHookError{Stdout: []byte(stdout), HookType: gitalypb.CustomHookError_HOOK_TYPE_UPDATE})
			}
			x.refuse(t, m, stdout, detail)
			x.hook(t, "update", "exit 0\n")
			x.settled(t)
			if refs, was := x.git(t, "for-each-ref"), strings.Split(before, "\ncount:")[0]; refs != was {
				t.Errorf("references:\n%s\nbefore:\n%s", refs, was)
			}
			x.git(t, "prune", "--expire=now") // what was kept before the update hook said no
		})
	}
	// Two have only one way to tell of both.
	access := func(text string) *gitalypb.AccessCheckError { return &gitalypb.AccessCheckError{ErrorMessage: text} }
	x.hook(t, "pre-receive", "echo GL-HOOK-ERR: no >&2; exit 1\n")
	_, err := x.ops.UserCherryPick(t.Context(), &gitalypb.UserCherryPickRequest{Repository: x.repo, User: x.user, Commit: commitID(x.side), BranchName: []byte("left"), Message: []byte("m")})
	wantStatus(t, err, codes.FailedPrecondition, "access check failed", &gitalypb.UserCherryPickError{
		Error: &gitalypb.UserCherryPickError_AccessCheck{AccessCheck: access("GL-HOOK-ERR: no")},
	})
	_, _, err = x.rebase(t.Context(), &gitalypb.UserRebaseConfirmableRequest_Header{User: x.user, Branch: []byte("left"), BranchSha: x.left, RemoteRepository: x.repo, RemoteBranch: []byte("side")}, true)
	if d := statusDetail[*gitalypb.UserRebaseConfirmableError](err); status.Convert(err).Message() != `access check: "GL-HOOK-ERR: no\n"` || d.GetAccessCheck().GetErrorMessage() != "GL-HOOK-ERR: no\n" {
		t.Errorf("rebase: %v, %v", err, d)
	}
	x.git(t, "prune", "--expire=now")
	x.sound(t)
}

// TestOperation_apiDown: without a clear yes nothing moves.
func TestOperation_apiDown(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	before := x.state(t)
	x.api.set(func() {
		x.api.allowed = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }
	})
	_, err := x.commitFiles(t.Context(), x.header("main"), createFile("new", "x"))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("with an API out of order: %v", err)
	}
	x.api.set(func() {
		x.api.allowed = nil
		x.api.preRecv = reply(200, `{"reference_counter_increased":false}`)
	})
	if _, err = x.commitFiles(t.Context(), x.header("main"), createFile("new", "x")); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a count: %v", err)
	}
	x.sound(t)
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
	x.api.set(func() {
		x.api.preRecv = nil
		x.api.postRecv = reply(500, `{}`)
	})
	if _, err = x.commitFiles(t.Context(), x.header("main"), createFile("new", "x")); err != nil {
		t.Errorf("what has moved has moved: %v", err)
	}
}

// TestOperation_canceled: a caller that leaves before the hooks have said yes leaves
// nothing, wherever it was; after that the operation is finished without it.
func TestOperation_canceled(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	before := x.state(t)
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := x.ops.UserMergeBranch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&gitalypb.UserMergeBranchRequest{Repository: x.repo, User: x.user, Branch: []byte("main"), CommitId: x.side, Message: []byte("m")}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel() // between the steps
	x.settled(t)

	for _, stage := range []string{"/allowed", "pre-receive"} {
		ctx, cancel := context.WithCancel(t.Context())
		reached := make(chan struct{})
		if stage == "/allowed" {
			x.api.set(func() {
				x.api.allowed = func(_ http.ResponseWriter, r *http.Request) {
					close(reached)
					<-r.Context().Done()
				}
			})
		} else {
			x.api.set(func() {
				x.api.allowed = func(w http.ResponseWriter, r *http.Request) {
					close(reached)
					reply(200, `{"status":true}`)(w, r)
				}
			})
			x.hook(t, "pre-receive", "sleep 1000\n")
		}
		done := make(chan error, 1)
		go func() {
			_, err := x.commitFiles(ctx, x.header("main"), createFile("new", "x"))
			done <- err
		}()
		<-reached
		cancel()
		if err := <-done; status.Code(err) != codes.Canceled {
			t.Errorf("canceled in %s: %v", stage, err)
		}
		x.settled(t)
	}
	eventually(t, "no child is left", func() bool { return len(children()) == 0 || !strings.Contains(strings.Join(children(), ""), "sleep") })
	x.hook(t, "pre-receive", "exit 0\n")
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}

	x.api.set(func() { x.api.allowed = nil })
	ctx, cancel = context.WithCancel(t.Context())
	x.api.set(func() {
		x.api.preRecv = func(w http.ResponseWriter, r *http.Request) {
			reply(200, `{"reference_counter_increased":true}`)(w, r)
		}
		x.api.postRecv = func(w http.ResponseWriter, r *http.Request) {
			cancel()
			<-ctx.Done()
			reply(200, `{"reference_counter_decreased":true,"messages":[]}`)(w, r)
		}
	})
	if _, err := x.commitFiles(ctx, x.header("main"), createFile("new", "x")); status.Code(err) != codes.Canceled {
		t.Errorf("canceled in /post_receive: %v", err)
	}
	x.sound(t)
	if got := x.git(t, "rev-parse", "main^"); got != x.second {
		t.Errorf("main is not one commit further: %s", got)
	}
}
