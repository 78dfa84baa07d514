package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"gitsplit/proto/go/gitalypb"
)

// fileAction is one change of UserCommitFiles.
type fileAction struct {
	header  *gitalypb.UserCommitFilesActionHeader
	content string
}

func action(kind gitalypb.UserCommitFilesActionHeader_ActionType, path, content string) fileAction {
	return fileAction{&gitalypb.UserCommitFilesActionHeader{Action: kind, FilePath: []byte(path)}, content}
}

func createFile(path, content string) fileAction {
	return action(gitalypb.UserCommitFilesActionHeader_CREATE, path, content)
}

func updateFile(path, content string) fileAction {
	return action(gitalypb.UserCommitFilesActionHeader_UPDATE, path, content)
}

func deleteFile(path string) fileAction {
	return action(gitalypb.UserCommitFilesActionHeader_DELETE, path, "")
}

func createDir(path string) fileAction {
	return action(gitalypb.UserCommitFilesActionHeader_CREATE_DIR, path, "")
}

func moveFile(from, to string) fileAction {
	a := action(gitalypb.UserCommitFilesActionHeader_MOVE, to, "ignored")
	a.header.PreviousPath, a.header.InferContent = []byte(from), true
	return a
}

func chmod(path string, executable bool) fileAction {
	a := action(gitalypb.UserCommitFilesActionHeader_CHMOD, path, "")
	a.header.ExecuteFilemode = executable
	return a
}

// with changes a copy of an action.
func (a fileAction) with(change func(*gitalypb.UserCommitFilesActionHeader)) fileAction {
	a.header, _ = proto.Clone(a.header).(*gitalypb.UserCommitFilesActionHeader)
	change(a.header)
	return a
}

// commitFiles sends a header and actions, the content in two pieces.
func (x workshop) commitFiles(ctx context.Context, header *gitalypb.UserCommitFilesRequestHeader, actions ...fileAction) (*gitalypb.OperationBranchUpdate, error) {
	stream, err := x.ops.UserCommitFiles(ctx)
	if err != nil {
		return nil, err
	}
	msgs := []*gitalypb.UserCommitFilesRequest{{UserCommitFilesRequestPayload: &gitalypb.UserCommitFilesRequest_Header{Header: header}}}
	add := func(a *gitalypb.UserCommitFilesAction) {
		msgs = append(msgs, &gitalypb.UserCommitFilesRequest{UserCommitFilesRequestPayload: &gitalypb.UserCommitFilesRequest_Action{Action: a}})
	}
	for _, a := range actions {
		add(&gitalypb.UserCommitFilesAction{UserCommitFilesActionPayload: &gitalypb.UserCommitFilesAction_Header{Header: a.header}})
		for _, piece := range []string{a.content[:len(a.content)/2], a.content[len(a.content)/2:]} {
			add(&gitalypb.UserCommitFilesAction{UserCommitFilesActionPayload: &gitalypb.UserCommitFilesAction_Content{Content: []byte(piece)}})
		}
	}
	for _, m := range msgs {
		if stream.Send(m) != nil {
			break // the answer has the reason
		}
	}
	resp, err := stream.CloseAndRecv()
	return resp.GetBranchUpdate(), err
}

func (x workshop) header(branch string) *gitalypb.UserCommitFilesRequestHeader {
	return &gitalypb.UserCommitFilesRequestHeader{Repository: x.repo, User: x.user, BranchName: []byte(branch), CommitMessage: []byte("files"), Timestamp: x.when}
}

func TestOperation_UserCommitFiles(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	const start = "100644 README|100644 src/deep/er/main.go"
	for _, tc := range []struct {
		name    string
		actions []fileAction
		want    string // the tree
		show    string // a file, and its content
		content string
	}{
		{"nothing", nil, start, "README", "hello"},
		{"create", []fileAction{createFile("a/b", "x"), createFile("/src//x"[:4]+"/n", "")}, "100644 README|100644 a/b|100644 src/deep/er/main.go|100644 src/n", "a/b", "x"},
		{"path is cleaned", []fileAction{createFile("./x/../a/", "x")}, "100644 README|100644 a|100644 src/deep/er/main.go", "a", "x"},
		{"executable", []fileAction{createFile("run", "x").with(func(h *gitalypb.UserCommitFilesActionHeader) { h.ExecuteFilemode = true })},
			"100644 README|100755 run|100644 src/deep/er/main.go", "run", "x"},
		{"base64", []fileAction{createFile("bin", base64.StdEncoding.EncodeToString([]byte("\x00\xff"))).with(func(h *gitalypb.UserCommitFilesActionHeader) { h.Base64Content = true })},
			"100644 README|100644 bin|100644 src/deep/er/main.go", "bin", "\x00\xff"},
		{"directory", []fileAction{createDir("empty/one")}, "100644 README|100644 empty/one/.gitkeep|100644 src/deep/er/main.go", "empty/one/.gitkeep", ""},
		{"update", []fileAction{updateFile("src/deep/er/main.go", "package x")}, start, "src/deep/er/main.go", "package x"},
		{"update keeps the mode", []fileAction{chmod("README", true), updateFile("README", "x")}, "100755 README|100644 src/deep/er/main.go", "README", "x"},
		{"not executable any more", []fileAction{chmod("README", true), chmod("README", false)}, start, "README", "hello"},
		{"move", []fileAction{moveFile("src/deep/er/main.go", "main.go")}, "100644 README|100644 main.go", "main.go", "package main"},
		{"move with content", []fileAction{{moveFile("README", "docs/README").with(func(h *gitalypb.UserCommitFilesActionHeader) { h.InferContent = false }).header, "new"}},
			"100644 docs/README|100644 src/deep/er/main.go", "docs/README", "new"},
		{"move below itself", []fileAction{moveFile("README", "README/x")}, "100644 README/x|100644 src/deep/er/main.go", "README/x", "hello"},
		{"move in place of its directory", []fileAction{moveFile("src/deep/er/main.go", "src")}, "100644 README|100644 src", "src", "package main"},
		{"delete a file and its directories", []fileAction{deleteFile("src/deep/er/main.go")}, "100644 README", "README", "hello"},
		{"delete a directory", []fileAction{deleteFile("src/deep")}, "100644 README", "README", "hello"},
		{"create, move, delete and create again", []fileAction{createFile("a", "1"), moveFile("a", "b"), deleteFile("b"), createFile("a", "2")}, "100644 README|100644 a|100644 src/deep/er/main.go", "a", "2"},
		{"file in place of a directory", []fileAction{deleteFile("src"), createFile("src", "x")}, "100644 README|100644 src", "src", "x"},
		{"order of names", []fileAction{createFile("src.go", "x"), createFile("src-x", "x"), createFile("src0", "x")},
			"100644 README|100644 src-x|100644 src.go|100644 src/deep/er/main.go|100644 src0", "src0", "x"},
		{"content for what has none", []fileAction{{deleteFile("src").header, "content"}, createFile("a", "x")}, "100644 README|100644 a", "a", "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := x.header("work")
			header.StartBranchName, header.Force = []byte("main"), true
			update, err := x.commitFiles(t.Context(), header, tc.actions...)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(x.git(t, "ls-tree", "-r", "--format=%(objectmode) %(path)", update.GetCommitId()), "\n", "|")
			if got != tc.want || x.git(t, "show", update.GetCommitId()+":"+tc.show) != tc.content {
				t.Errorf("tree %q, want %q", got, tc.want)
			}
			if got := x.show(t, "work"); got != x.second+"|"+signed+"|"+signed+"|files" {
				t.Errorf("commit %q", got)
			}
		})
	}
	x.sound(t)
}

func TestOperation_UserCommitFiles_faults(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	before := x.state(t)
	type kind = gitalypb.IndexError_ErrorType
	for _, tc := range []struct {
		name   string
		action fileAction
		code   codes.Code
		text   string
		fault  kind
	}{
		{"no path", createFile("", "x"), codes.InvalidArgument, "You must provide a file path", gitalypb.IndexError_ERROR_TYPE_EMPTY_PATH},
		{"file exists", createFile("README", "x"), codes.AlreadyExists, "A file with this name already exists", gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS},
		{"directory is there", createFile("src", "x"), codes.AlreadyExists, "A directory with this name already exists", gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS},
		{"file is on the way", createFile("README/x", "x"), codes.AlreadyExists, "A file with this name already exists", gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS},
		{"directory exists", createDir("src/deep"), codes.AlreadyExists, "A directory with this name already exists", gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS},
		{"directory is a file", createDir("README"), codes.AlreadyExists, "A file with this name already exists", gitalypb.IndexError_ERROR_TYPE_FILE_EXISTS},
		{"update of nothing", updateFile("none", "x"), codes.NotFound, "A file with this name doesn't exist", gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND},
		{"update of a directory", updateFile("src", "x"), codes.NotFound, "A file with this name doesn't exist", gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND},
		{"update below a file", updateFile("README/x", "x"), codes.NotFound, "A file with this name doesn't exist", gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND},
		{"delete of nothing", deleteFile("src/none"), codes.NotFound, "A file with this name doesn't exist", gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND},
		{"chmod of a directory", chmod("src", true), codes.NotFound, "A file with this name doesn't exist", gitalypb.IndexError_ERROR_TYPE_FILE_NOT_FOUND},
		{"move onto a directory", moveFile("README", "src"), codes.AlreadyExists, "A directory with this name already exists", gitalypb.IndexError_ERROR_TYPE_DIRECTORY_EXISTS},
		{"out of the repository", createFile("../x", "x"), codes.InvalidArgument, "Path cannot include directory traversal", gitalypb.IndexError_ERROR_TYPE_DIRECTORY_TRAVERSAL},
		{"out in the middle", createFile("a/../../x", "x"), codes.InvalidArgument, "Path cannot include directory traversal", gitalypb.IndexError_ERROR_TYPE_DIRECTORY_TRAVERSAL},
		{"git's directory", createFile(".git/hooks/pre-commit", "x"), codes.InvalidArgument, `invalid path: ".git/hooks/pre-commit"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"git's directory on a Mac", createDir("a/.G\u200cit"), codes.InvalidArgument, `invalid path: "a/.G\u200cit"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"git's directory on Windows", moveFile("README", "GIT~1"), codes.InvalidArgument, `invalid path: "GIT~1"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"two slashes", createFile("invalid://file", "x"), codes.InvalidArgument, `invalid path: "invalid://file"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"NUL", createFile("a\x00b", "x"), codes.InvalidArgument, `invalid path: "a\x00b"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"dash", createFile("-rf", "x"), codes.InvalidArgument, `invalid path: "-rf"`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
		{"the root", createFile(".", "x"), codes.InvalidArgument, `invalid path: "."`, gitalypb.IndexError_ERROR_TYPE_INVALID_PATH},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := x.commitFiles(t.Context(), x.header("main"), createFile("first", "x"), tc.action)
			wantStatus(t, err, tc.code, tc.text, &gitalypb.UserCommitFilesError{
				Error: &gitalypb.UserCommitFilesError_IndexUpdate{IndexUpdate: &gitalypb.IndexError{Path: tc.action.header.GetFilePath(), ErrorType: tc.fault}},
			})
		})
	}
	_, err := x.commitFiles(t.Context(), x.header("main"), createFile(strings.Repeat("a/", 1<<19), "x"))
	if d := statusDetail[*gitalypb.UserCommitFilesError](err); err == nil || d != nil && d.GetIndexUpdate().GetErrorType() != gitalypb.IndexError_ERROR_TYPE_INVALID_PATH {
		t.Errorf("path of 1 MB: %v", err)
	}
	for _, tc := range []struct {
		name  string
		alter func(*gitalypb.UserCommitFilesRequestHeader)
		code  codes.Code
		text  string
	}{
		{"no user", func(h *gitalypb.UserCommitFilesRequestHeader) { h.User = nil }, codes.InvalidArgument, "empty User"},
		{"no message", func(h *gitalypb.UserCommitFilesRequestHeader) { h.CommitMessage = nil }, codes.InvalidArgument, "empty CommitMessage"},
		{"no branch", func(h *gitalypb.UserCommitFilesRequestHeader) { h.BranchName = nil }, codes.InvalidArgument, "empty BranchName"},
		{"branch out of form", func(h *gitalypb.UserCommitFilesRequestHeader) { h.BranchName = []byte("-b") }, codes.InvalidArgument, "invalid branch name"},
		{"start is no id", func(h *gitalypb.UserCommitFilesRequestHeader) { h.StartSha = "main" }, codes.InvalidArgument, `invalid object ID: "main"`},
		{"unknown start", func(h *gitalypb.UserCommitFilesRequestHeader) { h.StartSha = zero }, codes.InvalidArgument, "cannot resolve parent commit: reference not found"},
		{"unknown start branch", func(h *gitalypb.UserCommitFilesRequestHeader) { h.StartBranchName = []byte("none") }, codes.InvalidArgument, "resolve start ref: reference not found"},
		{"branch is elsewhere", func(h *gitalypb.UserCommitFilesRequestHeader) { h.StartBranchName = []byte("left") }, codes.FailedPrecondition, "Could not update refs/heads/main. Please refresh and try again."},
		{"branch must not exist", func(h *gitalypb.UserCommitFilesRequestHeader) { h.ExpectedOldOid = zero }, codes.FailedPrecondition, "Could not update refs/heads/main. Please refresh and try again."},
		{"no name", func(h *gitalypb.UserCommitFilesRequestHeader) { h.User = &gitalypb.User{GlId: "user-1"} }, codes.InvalidArgument,
			"commit: failed to parse signature - Signature cannot have an empty name or email"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			header := x.header("main")
			tc.alter(header)
			_, err := x.commitFiles(t.Context(), header, createFile("a", "x"))
			wantStatus(t, err, tc.code, tc.text, nil)
		})
	}
	_, err = x.commitFiles(t.Context(), x.header("main"), createFile("a", "???").with(func(h *gitalypb.UserCommitFilesActionHeader) { h.Base64Content = true }))
	wantStatus(t, err, codes.InvalidArgument, "content is not base64", nil)
	_, err = x.commitFiles(t.Context(), x.header("main"), action(99, "a", ""))
	wantStatus(t, err, codes.InvalidArgument, "unknown action 99", nil)
	stream, err := x.ops.UserCommitFiles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&gitalypb.UserCommitFilesRequest{UserCommitFilesRequestPayload: &gitalypb.UserCommitFilesRequest_Header{Header: x.header("main")}})
	_ = stream.Send(&gitalypb.UserCommitFilesRequest{UserCommitFilesRequestPayload: &gitalypb.UserCommitFilesRequest_Action{Action: &gitalypb.UserCommitFilesAction{
		UserCommitFilesActionPayload: &gitalypb.UserCommitFilesAction_Content{Content: []byte("x")},
	}}})
	_, err = stream.CloseAndRecv()
	wantStatus(t, err, codes.InvalidArgument, "content sent before action", nil)
	x.sound(t)
	if after := x.state(t); after != before {
		t.Errorf("left behind:\n%s\nbefore:\n%s", after, before)
	}
}

// TestOperation_UserCommitFiles_start: where the commit begins, and what it makes.
func TestOperation_UserCommitFiles_start(t *testing.T) {
	t.Parallel()
	x := withWorkshop(t)
	ctx := t.Context()
	header := x.header("fresh")
	header.StartSha, header.CommitAuthorName, header.CommitAuthorEmail = x.left, []byte("Eve\n"), []byte("eve@example.com")
	update, err := x.commitFiles(ctx, header, createFile("a", "x"))
	if err != nil || !update.GetBranchCreated() || update.GetRepoCreated() || x.show(t, "fresh") != x.left+"|Eve <eve@example.com> 1700000000 +0100|"+signed+"|files" {
		t.Errorf("new branch = %v, %v: %s", update, err, x.show(t, "fresh"))
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 256<<10) // 4 MiB in two messages, as large as one message may hardly be
	if _, err = x.commitFiles(ctx, x.header("main"), createFile("big", string(big[:6<<19]))); err != nil || x.git(t, "cat-file", "-s", "main:big") != "3145728" {
		t.Errorf("a large file: %v", err)
	}

	// The first commit of a repository, in a format of its own; then one that begins in another repository.
	const fresh = "fresh.git"
	_, err = gitalypb.NewRepositoryServiceClient(x.conn).CreateRepository(ctx, &gitalypb.CreateRepositoryRequest{
		Repository: repository(fresh), DefaultBranch: []byte("main"), ObjectFormat: gitalypb.ObjectFormat_OBJECT_FORMAT_SHA256,
	})
	if err != nil {
		t.Fatal(err)
	}
	y := x
	y.repo, y.dir = repository(fresh), x.bundle.dir+"/"+fresh
	update, err = y.commitFiles(ctx, y.header("main"), createFile("dir/a", "1\n"), createDir("b"))
	if err != nil || !update.GetRepoCreated() || !update.GetBranchCreated() || len(update.GetCommitId()) != 64 {
		t.Fatalf("first commit = %v, %v", update, err)
	}
	first := update.GetCommitId()
	if update, err = y.commitFiles(ctx, y.header("main"), moveFile("dir/a", "c")); err != nil || y.git(t, "ls-tree", "-r", "--name-only", "main") != "b/.gitkeep\nc" {
		t.Errorf("second commit = %v, %v", update, err)
	}
	if resp, err := y.ops.UserRevert(ctx, &gitalypb.UserRevertRequest{Repository: y.repo, User: y.user, Commit: commitID(update.GetCommitId()),
		BranchName: []byte("main"), Message: []byte("back")}); err != nil || y.git(t, "rev-parse", "main^{tree}") != y.git(t, "rev-parse", first+"^{tree}") {
		t.Errorf("revert = %v, %v", resp, err)
	}
	if resp, err := y.ops.UserRevert(ctx, &gitalypb.UserRevertRequest{Repository: y.repo, User: y.user, Commit: commitID(first),
		BranchName: []byte("main"), Message: []byte("back to nothing")}); err != nil || y.git(t, "ls-tree", "main") != "" {
		t.Errorf("revert of the first = %v, %v", resp, err)
	}
	y.settled(t)

	x.create(t, "other.git")
	z := x
	z.repo, z.dir = repository("other.git"), x.bundle.dir+"/other.git"
	header = z.header("topic")
	header.StartRepository, header.StartBranchName = x.repo, []byte("side")
	if update, err = z.commitFiles(ctx, header, action(gitalypb.UserCommitFilesActionHeader_UPDATE, "side.txt", "changed")); err != nil || z.git(t, "rev-parse", "topic^") != x.side || !update.GetRepoCreated() {
		t.Errorf("begun in another repository = %v, %v", update, err)
	}
	z.sound(t)
}
