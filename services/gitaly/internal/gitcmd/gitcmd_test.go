package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gitsplit/kit/correlation"
)

// guard counts writers.
type guard struct {
	entered []string
	left    []bool
}

func (g *guard) Enter(dir string, _ Traces) func(bool) {
	g.entered = append(g.entered, dir)
	return func(clean bool) { g.left = append(g.left, clean) }
}

func setup(t *testing.T, g Guard) (*Factory, *Repo) {
	t.Helper()
	f, err := New(t.Context(), Options{SearchPath: os.Getenv("PATH"), Home: t.TempDir(), PackThreads: 1, Guard: g})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "r.git")
	err = f.Run(t.Context(), nil, Spec{Name: "init", Flags: []string{"--bare", "--quiet"}, Args: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return f, &Repo{Dir: dir}
}

// TestFactory_litters: a pack-objects that fails, on a full disk for one, leaves what it
// has written; the guard hears of it.
func TestFactory_litters(t *testing.T) {
	t.Parallel()
	g := &guard{}
	f, repo := setup(t, g)
	pack := func(input string) error {
		return f.Run(t.Context(), repo, Spec{Name: "pack-objects", Flags: []string{"--quiet"}, Args: []string{filepath.Join(repo.Dir, "objects", "pack", "x")}, Stdin: strings.NewReader(input)})
	}
	if err := pack(""); err != nil {
		t.Fatal(err)
	}
	if err := pack("no object\n"); err == nil {
		t.Error("packed what is no object")
	}
	if !slices.Equal(g.left, []bool{true, false}) {
		t.Errorf("the guard was told %v", g.left)
	}
}

func TestFactory_refuses(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	for _, tc := range []struct {
		name string
		repo *Repo
		spec Spec
		want string
	}{
		{"unknown sub-command", repo, Spec{Name: "daemon"}, "not in the table"},
		{"flag not in the table", repo, Spec{Name: "upload-pack", Flags: []string{"--timeout=1"}}, "not permitted"},
		{"two alternates in one", &Repo{Dir: repo.Dir, ObjectDir: "/q", Alternates: []string{"/s/x:/etc/objects"}}, Spec{Name: "cat-file"}, "has a colon"},
		{"flag as argument", repo, Spec{Name: "rev-list", Args: []string{"--output=/tmp/x"}}, "begins with a dash"},
		{"NUL", repo, Spec{Name: "rev-list", Args: []string{"a\x00b"}}, "NUL"},
		{"paths where there are none", repo, Spec{Name: "cat-file", Paths: []string{"x"}}, "takes no paths"},
		{"nothing to leave out of", repo, Spec{Name: "rev-list", Exclude: []string{"x"}}, "takes no paths"},
		{"no repository", nil, Spec{Name: "cat-file"}, "repository given"},
		{"repository too many", repo, Spec{Name: "init"}, "repository given"},
		{"ref updates without a word about hooks", repo, Spec{Name: "update-ref"}, "hooks must be"},
		{"hooks both on and off", repo, Spec{Name: "update-ref", NoHooks: true, HooksPath: "/x"}, "hooks must be"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := f.Run(t.Context(), tc.repo, tc.spec)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestFactory_environment(t *testing.T) {
	t.Parallel()
	f, _ := setup(t, nil)
	ctx := correlation.With(t.Context(), "id-1")
	env := f.environment(ctx, &Repo{Dir: "/r", ObjectDir: "/r/q", Alternates: []string{"/r/objects", "/p"}},
		Spec{Env: []string{"GIT_PROTOCOL=version=2"}})
	for _, want := range []string{
		"CORRELATION_ID=id-1", "GIT_OBJECT_DIRECTORY=/r/q", "GIT_ALTERNATE_OBJECT_DIRECTORIES=/r/objects:/p",
		"GIT_PROTOCOL=version=2", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("environment lacks %q: %q", want, env)
		}
	}
	if len(env) != 9+4 {
		t.Errorf("environment has %d entries, want 13: %q", len(env), env)
	}
}

// TestFactory_requestCannotReplaceOurs: settings that name programs stay ours.
func TestFactory_requestCannotReplaceOurs(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	args, err := f.arguments(repo, Spec{Name: "upload-pack", Config: []Config{
		{"core.hooksPath", "/evil"}, {"core.alternateRefsCommand", "evil"}, {"protocol.allow", "always"}, {"uploadpack.allowFilter", "false"}}})
	if err != nil {
		t.Fatal(err)
	}
	last := func(prefix string) string {
		for _, a := range slices.Backward(args) {
			if v, ok := strings.CutPrefix(a, prefix); ok {
				return v
			}
		}
		return "(none)"
	}
	for key, want := range map[string]string{
		"core.hooksPath=": "/dev/null", "core.alternateRefsCommand=": "true", "protocol.allow=": "never",
		"uploadpack.allowFilter=": "false", "core.fsync=": "objects,derived-metadata,reference",
	} {
		if got := last(key); got != want {
			t.Errorf("%s%s, want %s", key, got, want)
		}
	}
	if tail := args[len(args)-2:]; !slices.Equal(tail, []string{"--end-of-options", repo.Dir}) {
		t.Errorf("arguments end with %q", tail)
	}
}

// TestFactory_pathspecs: whatever a path looks like, it is a name.
func TestFactory_pathspecs(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	args, err := f.arguments(repo, Spec{Name: "archive", Args: []string{"HEAD"}, Paths: []string{":!*"}, Exclude: []string{":(glob)**"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"archive", "HEAD", "--", ":(top,literal):!*", ":(top,literal,exclude):(glob)**"}
	if tail := args[len(args)-len(want):]; !slices.Equal(tail, want) || slices.Contains(args, "--literal-pathspecs") {
		t.Errorf("arguments %q, want them to end with %q", args, want)
	}
	if args, err = f.arguments(repo, Spec{Name: "bundle create", Flags: []string{"-", "--all"}}); err != nil {
		t.Fatal(err)
	}
	if tail := args[len(args)-4:]; !slices.Equal(tail, []string{"bundle", "create", "-", "--all"}) {
		t.Errorf("arguments end with %q", tail)
	}
}

func TestFactory_failure(t *testing.T) {
	t.Parallel()
	g := &guard{}
	f, repo := setup(t, g)
	err := f.Run(t.Context(), repo, Spec{Name: "update-ref", Flags: []string{"--stdin"}, NoHooks: true, Stdin: strings.NewReader("bad\n")})
	var e *Error
	if !errors.As(err, &e) || e.Code != 128 || !strings.Contains(e.Stderr, "unknown command: bad") || !Exited(err, 1, 128) || Exited(err, 1) {
		t.Errorf("err = %#v", err)
	}
	if len(g.entered) != 1 || len(g.left) != 1 || !g.left[0] {
		t.Errorf("guard saw %+v, want one writer that ended by itself", g)
	}
	_, err = f.Output(t.Context(), repo, Spec{Name: "cat-file", Flags: []string{"--batch-check"},
		Stdin: strings.NewReader(strings.Repeat("x\n", 1000))}, 100)
	if !errors.Is(err, ErrTooLong) {
		t.Errorf("err = %v, want too long", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx, repo, Spec{Name: "cat-file"}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want canceled", err)
	}
}

func TestNew_fails(t *testing.T) {
	t.Parallel()
	old := filepath.Join(t.TempDir(), "git")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho git version 2.30.1\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/nonexistent/git": "find git", old: "too old", "/bin/true": "cannot read"} {
		_, err := New(t.Context(), Options{Path: path, SearchPath: os.Getenv("PATH"), Home: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%q) = %v, want %q", path, err, want)
		}
	}
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, wantErr string }{
		{"uploadpack.allowFilter=true", ""},
		{"receive.maxInputSize=1000", ""},
		{"transfer.hideRefs=!refs", ""},
		{"http.https://example.com/.proxy=", ""},
		{"transfer.hideRefs", "cannot convert invalid config key"},
		{"=x", "cannot convert invalid config key"},
		{"receive=x", "cannot convert invalid config key"},
		{"receive.a b=x", "cannot convert invalid config key"},
		{"receive.x=a\nb", "cannot convert invalid config value"},
		{"core.hooksPath=/tmp", "may not be set"},
		{"CORE.hooksPath=/tmp", "may not be set"},
		{"include.path=/etc/x", "may not be set"},
		{"uploadpack.packObjectsHook=/tmp/x", "may not be set"},
		{"receive.procReceiveRefs=refs", "may not be set"},
	} {
		_, err := ParseConfig([]string{tc.in})
		if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
			t.Errorf("ParseConfig(%q) = %v, want %q", tc.in, err, tc.wantErr)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, s := range []string{"uploadpack.allowFilter=true", "core.hooksPath=x", "a.b", "http.x.y=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := ParseConfig([]string{in})
		if err != nil {
			return
		}
		if s := got[0].Key + "=" + got[0].Value; s != in || strings.ContainsAny(s, "\x00\n") || strings.HasPrefix(strings.ToLower(s), "core.") {
			t.Errorf("ParseConfig(%q) = %q", in, s)
		}
	})
}

func TestProtocol(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, want string
		ok       bool
	}{
		{"", "0", true}, {"version=2", "2", true}, {"version=1", "1", true}, {"version=0", "0", true},
		{"version=1:version=2", "2", true}, {"future=x:version=2", "2", true}, {"flag", "0", true},
		{"version=3", "0", false}, {"version=2\n", "0", false}, {"version=2;rm", "0", false}, {"version=2:", "0", false},
		{strings.Repeat("a", 257), "0", false}, {"version=2:\x00", "0", false},
	} {
		if got, ok := Protocol(tc.in); got != tc.want || ok != tc.ok {
			t.Errorf("Protocol(%q) = %q, %v, want %q, %v", tc.in, got, ok, tc.want, tc.ok)
		}
	}
	if ProtocolEnv("0") != nil || len(ProtocolEnv("2")) != 1 {
		t.Error("ProtocolEnv is wrong")
	}
}

func FuzzProtocol(f *testing.F) {
	for _, s := range []string{"version=2", "version=1:x=y", "a=\x00", "::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		v, _ := Protocol(in)
		if v != "0" && v != "1" && v != "2" {
			t.Errorf("Protocol(%q) = %q", in, v)
		}
	})
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Version{
		"git version 2.39.5\n": {2, 39, 5}, "git version 2.50.1 (Apple Git-155)": {2, 50, 1},
		"git version 2.51.0.windows.1": {2, 51, 0}, "git version 2.53.GIT": {2, 53, 0}, "git version 2.45-rc0": {2, 45, 0},
	} {
		if got, err := ParseVersion(in); err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "git 2.3", "git version x.y", "git version 2"} {
		if v, err := ParseVersion(in); err == nil {
			t.Errorf("ParseVersion(%q) = %v", in, v)
		}
	}
	if !(Version{3, 0, 0}).AtLeast(MinVersion) || (Version{2, 38, 9}).AtLeast(MinVersion) || !MinVersion.AtLeast(MinVersion) {
		t.Error("AtLeast is wrong")
	}
}

// TestTable_endOfOptions asks the real git whether the table is right.
func TestTable_endOfOptions(t *testing.T) {
	t.Parallel()
	f, repo := setup(t, nil)
	for name, c := range subcommands {
		if !c.endOfOptions || c.noRepo || c.repoArg {
			continue
		}
		var stderr bytes.Buffer
		s := Spec{Name: name, Args: []string{"refs/heads/none"}, NoHooks: c.updatesRefs, Stderr: &stderr}
		_ = f.Run(t.Context(), repo, s)
		if strings.Contains(stderr.String(), "end-of-options") {
			t.Errorf("git %s does not know --end-of-options: %s", name, stderr.String())
		}
	}
}

func TestVersion_config(t *testing.T) {
	t.Parallel()
	multi := Config{"pack.allowPackReuse", "multi"}
	for version, want := range map[Version]bool{
		MinVersion: false, {2, 46, 9}: false, {2, 47, 0}: true, {2, 50, 1}: true, {3, 0, 0}: true, {}: false,
	} {
		f := &Factory{version: version}
		if got := slices.Contains(f.configuration(subcommands["upload-pack"], Spec{}), multi); got != want {
			t.Errorf("git %v: pack.allowPackReuse=multi is %v, want %v", version, got, want)
		}
	}
}
