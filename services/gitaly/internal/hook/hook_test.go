package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gitsplit/kit/errs"
	"gitsplit/kit/hookpayload"
	"gitsplit/kit/internalapi"
	"gitsplit/kit/logging"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/api"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/journal"
	"gitsplit/services/gitaly/internal/process"
	"gitsplit/services/gitaly/internal/storage"
)

// fakeAPI is the API and the journal, and records what it is asked in a list of steps.
type fakeAPI struct {
	steps     *[]string
	push      api.Push
	allowed   error
	pre       error
	increased bool
	begin     error
	delivered string
	post      error
	messages  []internalapi.Message
	decreased bool
}

func (f *fakeAPI) Allowed(_ context.Context, p api.Push) error {
	*f.steps, f.push = append(*f.steps, "allowed"), p
	return f.allowed
}

func (f *fakeAPI) PreReceive(context.Context, api.Push) (bool, error) {
	*f.steps = append(*f.steps, "pre_receive")
	return f.increased, f.pre
}

func (f *fakeAPI) Begin(_ context.Context, storageName string, p api.Push) error {
	*f.steps = append(*f.steps, "begin "+storageName+" "+p.ID)
	return f.begin
}

func (f *fakeAPI) Forget(_ context.Context, id string) { *f.steps = append(*f.steps, "forget "+id) }

func (f *fakeAPI) Deliver(_ context.Context, id, changes string) ([]internalapi.Message, bool, error) {
	*f.steps, f.delivered = append(*f.steps, "deliver "+id), changes
	return f.messages, f.decreased, f.post
}

type bundle struct {
	api     *fakeAPI
	manager *Manager
	call    Call
	server  string // directory of server-wide hooks
	stdout  bytes.Buffer
	stderr  bytes.Buffer
}

const (
	zero = "0000000000000000000000000000000000000000"
	one  = "1111111111111111111111111111111111111111"
)

func setup(t *testing.T) *bundle {
	t.Helper()
	git, err := gitcmd.New(t.Context(), gitcmd.Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	st, err := storage.Open("default", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	msg := &gitalypb.Repository{StorageName: "default", RelativePath: "r.git", GlRepository: "project-26", GlProjectPath: "team/tool"}
	repo, err := storage.NewLocator(st).Locate(msg)
	if err != nil {
		t.Fatal(err)
	}
	if err := storage.Create(t.Context(), git, repo, storage.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	b := &bundle{server: t.TempDir(), api: &fakeAPI{steps: new([]string), increased: true, decreased: true}}
	b.manager = New(Options{API: b.api, Journal: b.api, CustomDir: b.server, GitBinDir: git.BinDir(), SearchPath: os.Getenv("PATH"), Home: "/", Log: logging.Discard()})
	b.call = Call{
		ID: "id", Repo: repo, Changes: []byte(zero + " " + one + " refs/heads/main\n"), Options: []string{"ci.skip"},
		Payload: hookpayload.Payload{Repository: msg, UserDetails: &hookpayload.UserDetails{Username: "ada", UserID: "key-7", Protocol: "ssh"}},
	}
	return b
}

// script installs an executable. A child writes it: a descriptor of ours that is
// open for writing could leak into a fork and make the exec fail.
func script(t *testing.T, path, body string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "install", "-D", "-m", "0700", "/dev/stdin", path)
	cmd.Stdin = strings.NewReader("#!/bin/sh\n" + body + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install %s: %v: %s", path, err, out)
	}
}

func wantExit(t *testing.T, err error, code int32, stderr string) {
	t.Helper()
	var e *Exit
	if !errors.As(err, &e) || e.Code != code || e.Stderr != stderr {
		t.Errorf("err = %#v, want exit %d with %q", err, code, stderr)
	}
}

func TestManager_PreReceive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	quarantine := filepath.Join(b.call.Repo.Dir, "objects/tmp_objdir-incoming-x")
	if err := os.Mkdir(quarantine, 0o700); err != nil {
		t.Fatal(err)
	}
	b.call.Env = []string{"GIT_OBJECT_DIRECTORY=" + quarantine, "GIT_ALTERNATE_OBJECT_DIRECTORIES=" + b.call.Repo.Dir + "/./objects", "EVIL=1"}
	ahead := "" // what is read while the API is asked
	b.manager.o.ReadAhead = func(ctx context.Context, repo *gitcmd.Repo) {
		<-ctx.Done()
		ahead = repo.ObjectDir
	}
	for _, p := range []string{"custom_hooks/pre-receive", "custom_hooks/pre-receive.d/b", "custom_hooks/pre-receive.d/a"} {
		script(t, filepath.Join(b.call.Repo.Dir, p), "echo ran "+p+`; cat; echo "$GL_ID $GL_USERNAME $GL_PROTOCOL $GL_REPOSITORY $GL_PROJECT_PATH $EVIL$GITALY_HOOKS_PAYLOAD" >&2`)
	}
	script(t, filepath.Join(b.server, "pre-receive.d/z"), `echo "$GIT_PUSH_OPTION_COUNT $GIT_PUSH_OPTION_0 $(pwd) $GIT_DIR"; echo "$GIT_OBJECT_DIRECTORY"`)
	script(t, filepath.Join(b.server, "pre-receive.d/z~"), "echo backup; exit 1")
	if err := b.manager.PreReceive(t.Context(), b.call, &b.stdout, &b.stderr); err != nil {
		t.Fatal(err)
	}
	if ahead != quarantine {
		t.Errorf("read ahead in %q, want %q", ahead, quarantine)
	}
	changes := string(b.call.Changes)
	want := "ran custom_hooks/pre-receive\n" + changes + "ran custom_hooks/pre-receive.d/a\n" + changes +
		"ran custom_hooks/pre-receive.d/b\n" + changes + "1 ci.skip " + b.call.Repo.Dir + " " + b.call.Repo.Dir + "\n" + quarantine + "\n"
	if diff := cmp.Diff(want, b.stdout.String()); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
	if want := strings.Repeat("key-7 ada ssh project-26 team/tool \n", 3); b.stderr.String() != want {
		t.Errorf("stderr = %q, want %q", b.stderr.String(), want)
	}
	if diff := cmp.Diff([]string{"allowed", "begin default id", "pre_receive"}, *b.api.steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	wantPush := api.Push{
		ID: "id", GLID: "key-7", Protocol: "ssh", GLRepository: "project-26", Dir: b.call.Repo.Dir, RelativePath: "r.git",
		Changes: changes, Options: []string{"ci.skip"}, ObjectDirectory: "objects/tmp_objdir-incoming-x", Alternates: []string{"objects"},
	}
	if diff := cmp.Diff(wantPush, b.api.push); diff != "" {
		t.Errorf("push (-want +got):\n%s", diff)
	}
}

func TestManager_PreReceive_refuses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		alter func(b *bundle)
		text  string
		steps int // of: allowed, begin, pre_receive, forget
	}{
		{"no changes", func(b *bundle) { b.call.Changes = nil }, "hook got no reference updates", 0},
		{"no gl_repository", func(b *bundle) { b.call.Payload.Repository.GlRepository = "" }, "repository not set", 0},
		{"no user details", func(b *bundle) { b.call.Payload.UserDetails = nil }, "payload has no receive hooks info", 0},
		{"no user id", func(b *bundle) { b.call.Payload.UserDetails.UserID = "" }, "user ID not set", 0},
		{"no protocol", func(b *bundle) { b.call.Payload.UserDetails.Protocol = "" }, "protocol not set", 0},
		{"malformed change", func(b *bundle) { b.call.Changes = []byte("x y refs/heads/z\n") }, "hook got an invalid reference update", 0},
		{"option with a control byte", func(b *bundle) { b.call.Options = []string{"a\x1b"} }, "a push option must be printable text", 0},
		{"long option", func(b *bundle) { b.call.Options = []string{strings.Repeat("a", 1025)} }, "a push option may be at most 1024 bytes long", 0},
		{"many options", func(b *bundle) { b.call.Options = make([]string, 51) }, "a push may have at most 50 push options", 0},
		{"foreign quarantine", func(b *bundle) { b.call.Env = []string{"GIT_OBJECT_DIRECTORY=/etc"} },
			`object directory "../../../../etc" does not belong to the repository`, 0},
		{"API says no", func(b *bundle) { b.api.allowed = &api.Refusal{Text: "You are not allowed\x1b[31m"} }, "GitLab: You are not allowed[31m", 1},
		{"counter call fails", func(b *bundle) {
			b.api.pre = &api.Refusal{Text: "http post to gitlab api /pre_receive endpoint: x"}
		}, "calling pre_receive endpoint: http post to gitlab api /pre_receive endpoint: x", 3},
		{"counter call refused", func(b *bundle) { b.api.pre = &api.Refusal{Text: "x", Status: 404} }, "calling pre_receive endpoint: x", 4},
		{"a proxy has no answer", func(b *bundle) { b.api.pre = &api.Refusal{Text: "x", Status: 502} }, "calling pre_receive endpoint: x", 3},
		{"counter not increased", func(b *bundle) { b.api.increased = false }, "", 4},
		{"journal full", func(b *bundle) { b.api.begin = errs.New(errs.Exhausted, "Too many pushes wait.") }, "GitLab: Too many pushes wait.", 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			tc.alter(b)
			err := b.manager.PreReceive(t.Context(), b.call, &b.stdout, &b.stderr)
			if strings.Contains(tc.text, "../") { // the number of steps up depends on the machine
				var e *Exit
				if !errors.As(err, &e) || !strings.HasSuffix(e.Stderr, `etc" does not belong to the repository`) {
					t.Errorf("err = %v", err)
				}
			} else {
				wantExit(t, err, 1, tc.text)
			}
			if len(*b.api.steps) != tc.steps {
				t.Errorf("steps = %q, want %d", *b.api.steps, tc.steps)
			}
		})
	}
}

func TestManager_customHookFails(t *testing.T) {
	t.Parallel()
	b := setup(t)
	script(t, filepath.Join(b.call.Repo.Dir, "custom_hooks/pre-receive"), `printf 'no\033[2J\n' >&2; exit 7`)
	script(t, filepath.Join(b.server, "pre-receive.d/z"), "echo not reached")
	wantExit(t, b.manager.PreReceive(t.Context(), b.call, &b.stdout, &b.stderr), 7, "")
	if b.stdout.String() != "" || b.stderr.String() != "no[2J\n" {
		t.Errorf("stdout %q, stderr %q", b.stdout.String(), b.stderr.String())
	}
	if diff := cmp.Diff([]string{"allowed"}, *b.api.steps); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// TestManager_customHookBounds: a custom hook is bounded as git is, and accounted to
// its repository. It may end before it is moved, so it waits.
func TestManager_customHookBounds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	procs, key := filepath.Join(t.TempDir(), "cgroup.procs"), ""
	b.manager.o.Memory = 64 << 20
	b.manager.o.Place = func(k string) (*process.Cgroup, error) {
		key = k
		return &process.Cgroup{Procs: []string{procs}}, nil
	}
	script(t, filepath.Join(b.call.Repo.Dir, "custom_hooks/pre-receive"), "cat >/dev/null; ulimit -d; echo $$")
	b.call.Changes = []byte(zero + " " + one + " refs/heads/x\n")
	run := custom{name: "pre-receive", stdin: b.call.Changes, stdout: &b.stdout, stderr: &b.stderr, timeout: time.Minute}
	if err := b.manager.runCustom(t.Context(), b.call, run); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(procs)
	if err != nil || b.stdout.String() != "65536\n"+string(raw)+"\n" || key != b.call.Repo.Name || key == "" {
		t.Errorf("printed %q, moved %q to %q, %v", b.stdout.String(), raw, key, err)
	}
	b.manager.o.Place = func(string) (*process.Cgroup, error) { return nil, errors.ErrUnsupported }
	if err := b.manager.runCustom(t.Context(), b.call, run); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("err = %v", err)
	}
}

func TestManager_customHookLimits(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := filepath.Join(b.call.Repo.Dir, "custom_hooks/update")
	script(t, path, "sleep 1000 & sleep 1000")
	run := custom{name: "update", stdout: &b.stdout, stderr: &b.stderr, timeout: 100 * time.Millisecond}
	wantExit(t, b.manager.runCustom(t.Context(), b.call, run), 1, `custom hook "update" took longer than 100ms`)

	script(t, path, "head -c 3000000 /dev/zero | tr '\\0' x; echo end")
	if err := b.manager.Update(t.Context(), b.call, "refs/heads/x", zero, one, &b.stdout, &b.stderr); err != nil {
		t.Error(err)
	}
	if n := b.stdout.Len(); n == 0 || n > maxOutput {
		t.Errorf("%d bytes of output were passed on", n)
	}
}

// TestManager_customHookCanceled: a push that is over was not refused by anybody.
func TestManager_customHookCanceled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	script(t, filepath.Join(b.call.Repo.Dir, "custom_hooks/update"), "echo begun; sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	err := b.manager.Update(ctx, b.call, "refs/heads/x", zero, one, begun, &b.stderr)
	if _, refused := errors.AsType[*Exit](err); refused || !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCleaner: a character that comes in pieces stays whole, and the budget is exact.
func TestCleaner(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		pieces []string
		budget int64
		want   string
	}{
		{"whole", []string{"grüße\n"}, 100, "grüße\n"},
		{"a character in pieces", []string{"gr\xc3", "\xbc\xc3", "\x9fe \xf0\x9f", "\x8e", "\x89"}, 100, "grüße 🎉"},
		{"never finished", []string{"a\xf0\x9f"}, 100, "a\ufffd\ufffd"},
		{"no character", []string{"\xff", "\x9b2J"}, 100, "\ufffd\ufffd2J"},
		{"a control character in pieces", []string{"a\xc2", "\x9bb"}, 100, "ab"},
		{"too much", []string{"12345", "678", "9"}, 7, "1234567"},
	} {
		var out strings.Builder
		c := &cleaner{budget: &budget{left: tc.budget}, w: &out}
		for _, p := range tc.pieces {
			if n, err := c.Write([]byte(p)); n != len(p) || err != nil {
				t.Errorf("%s: %d, %v", tc.name, n, err)
			}
		}
		if err := c.flush(); err != nil || out.String() != tc.want {
			t.Errorf("%s: %q, %v, want %q", tc.name, out.String(), err, tc.want)
		}
	}
}

func TestManager_Update(t *testing.T) {
	t.Parallel()
	b := setup(t)
	script(t, filepath.Join(b.call.Repo.Dir, "custom_hooks/update"), `echo "$@"; cat`)
	if err := b.manager.Update(t.Context(), b.call, "refs/heads/-x", zero, one, &b.stdout, &b.stderr); err != nil {
		t.Fatal(err)
	}
	if want := "refs/heads/-x " + zero + " " + one + "\n"; b.stdout.String() != want {
		t.Errorf("stdout = %q, want %q", b.stdout.String(), want)
	}
	for _, oids := range [][2]string{{"", one}, {zero, "x"}, {zero, one + one[:24]}} {
		if err := b.manager.Update(t.Context(), b.call, "refs/heads/x", oids[0], oids[1], &b.stdout, &b.stderr); err == nil {
			t.Errorf("Update accepts %q", oids)
		}
	}
}

func TestManager_PostReceive(t *testing.T) {
	t.Parallel()
	b := setup(t)
	script(t, filepath.Join(b.call.Repo.Dir, "custom_hooks/post-receive"), "echo custom")
	b.api.messages = []internalapi.Message{{Message: "To create a merge request for topic, visit:\n  https://x", Type: "basic"}}
	if err := b.manager.PostReceive(t.Context(), b.call, &b.stdout, &b.stderr); err != nil {
		t.Fatal(err)
	}
	if want := "\nTo create a merge request for topic, visit:\n  https://x\n\ncustom\n"; b.stdout.String() != want {
		t.Errorf("stdout = %q, want %q", b.stdout.String(), want)
	}
	b.stdout.Reset()
	b.api.decreased = false
	wantExit(t, b.manager.PostReceive(t.Context(), b.call, &b.stdout, &b.stderr), 1, "")
	if !strings.HasPrefix(b.stdout.String(), "\nTo create") || strings.Contains(b.stdout.String(), "custom") {
		t.Errorf("stdout = %q", b.stdout.String())
	}
	b.stdout.Reset()
	b.api.decreased, b.api.post = true, fmt.Errorf("%w: down", journal.ErrLater)
	if err := b.manager.PostReceive(t.Context(), b.call, &b.stdout, &b.stderr); err != nil {
		t.Errorf("API down: %v", err)
	}
	if !strings.HasPrefix(b.stdout.String(), "\nYour push is done and safe, but") || !strings.HasSuffix(b.stdout.String(), "Do not push again.\n\ncustom\n") {
		t.Errorf("stdout = %q", b.stdout.String())
	}
	if b.api.delivered != string(b.call.Changes) {
		t.Errorf("delivered %q", b.api.delivered)
	}
	b.api.post = &api.Refusal{Text: "http post to gitlab api /post_receive endpoint: Internal API unreachable"}
	wantExit(t, b.manager.PostReceive(t.Context(), b.call, &b.stdout, &b.stderr), 1,
		"GitLab: http post to gitlab api /post_receive endpoint: Internal API unreachable")
	b.api.post, b.api.messages = nil, []internalapi.Message{{Type: "loud"}}
	if err := b.manager.PostReceive(t.Context(), b.call, &b.stdout, &b.stderr); err == nil ||
		err.Error() != "error writing messages to stream: invalid message type: loud" {
		t.Errorf("err = %v", err)
	}
}

func TestWriteMessages_alert(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	text := "Maintenance at 18:00  today,\nwhich is a long sentence that needs to be wrapped because it does not fit " + strings.Repeat("w", 80)
	if err := writeMessages(&b, []internalapi.Message{{Message: text, Type: "alert"}}); err != nil {
		t.Fatal(err)
	}
	frame := strings.Repeat("=", 72)
	want := "\n" + frame + "\n\n" +
		"  Maintenance at 18:00 today, which is a long sentence that needs to be\n"
	if !strings.HasPrefix(b.String(), want[:len(want)-1]) && !strings.Contains(b.String(), "Maintenance at 18:00 today, which is a long sentence that needs to") {
		t.Errorf("alert:\n%s", b.String())
	}
	for i, line := range strings.Split(b.String(), "\n") {
		trimmed := strings.TrimLeft(line, " ")
		if strings.HasPrefix(trimmed, "w") && len(trimmed) == 80 || trimmed == frame || trimmed == "" {
			continue
		}
		if pad := len(line) - len(trimmed); len(trimmed) > 68 || pad != (72-len(trimmed))/2 {
			t.Errorf("line %d is not centred: %q", i, line)
		}
	}
	if !strings.HasSuffix(b.String(), "\n\n"+frame+"\n\n") {
		t.Errorf("alert ends with %q", b.String()[b.Len()-80:])
	}
}

func TestCheckChanges_limit(t *testing.T) {
	t.Parallel()
	line := fmt.Sprintf("%s %s refs/heads/x\n", zero, one)
	if err := checkChanges([]byte(strings.Repeat(line, maxRefs))); err != nil {
		t.Error(err)
	}
	if err := checkChanges([]byte(strings.Repeat(line, maxRefs+1))); err == nil {
		t.Error("too many references pass")
	}
}

func FuzzCheckChanges(f *testing.F) {
	f.Add([]byte(zero + " " + one + " refs/heads/main\n"))
	f.Add([]byte(zero + " " + one + " HEAD\n"))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if checkChanges(in) != nil {
			return
		}
		for line := range strings.Lines(string(in)) {
			fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
			if len(fields) != 3 || !strings.HasPrefix(fields[2], "refs/") {
				t.Errorf("accepted %q", line)
			}
		}
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("text\x1b[31m\u0085\xff\x9b\n")
	f.Fuzz(func(t *testing.T, in string) {
		if out := Printable(in); strings.ContainsAny(out, "\x00\x07\x08\x1b\x7f\r") || Printable(out) != out {
			t.Errorf("Printable(%q) = %q", in, out)
		}
	})
}
