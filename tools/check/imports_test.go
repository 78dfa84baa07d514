package check_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pkg is what `go list -json` says about one package.
type pkg struct {
	ImportPath   string
	Module       struct{ Path string }
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// TestImports reads every package of the workspace, tests included. Rules over
// direct imports suffice: a forbidden package is forbidden to all on the way.
func TestImports(t *testing.T) {
	t.Parallel()
	pkgs := workspace(t)
	if len(pkgs) < 10 {
		t.Errorf("go list found %d packages in the workspace, want at least 10", len(pkgs))
	}
	for _, p := range pkgs {
		for _, fault := range faults(p) {
			t.Error(fault)
		}
	}
}

// starters are the packages of gitaly that start programs: git, and the process
// groups that git and custom hooks run in.
var starters = []string{"gitsplit/services/gitaly/internal/gitcmd", "gitsplit/services/gitaly/internal/process"}

// faults names every import of p that breaks a rule.
func faults(p pkg) []string {
	var out []string
	all := slices.Concat(p.Imports, p.TestImports, p.XTestImports)
	slices.Sort(all)
	for _, imp := range slices.Compact(all) {
		if within(imp, "gitsplit") && !mayImport(p.Module.Path, imp) {
			out = append(out, fmt.Sprintf("%s imports %s: %s may import only %v of ours", p.ImportPath, imp, p.Module.Path, allowed(p.Module.Path)))
		}
		if within(imp, "github.com/go-git") {
			out = append(out, fmt.Sprintf("%s imports %s: git itself does that", p.ImportPath, imp))
		}
	}
	if within(p.Module.Path, "gitsplit/services/gitaly") && slices.Contains(p.Imports, "os/exec") && !slices.Contains(starters, p.ImportPath) {
		out = append(out, fmt.Sprintf("%s imports os/exec: in gitaly only %v start programs", p.ImportPath, starters))
	}
	return out
}

// allowed lists what a module may import of ours, itself included.
func allowed(module string) []string {
	switch module {
	case "gitsplit/proto", "gitsplit/tools/check":
		return []string{module}
	case "gitsplit/kit":
		return []string{module, "gitsplit/proto"}
	case "gitsplit/bench": // starts an instance as the journeys do
		return []string{module, "gitsplit/kit", "gitsplit/proto", "gitsplit/e2e/stack"}
	}
	return []string{module, "gitsplit/kit", "gitsplit/proto"}
}

func mayImport(module, imp string) bool {
	return slices.ContainsFunc(allowed(module), func(root string) bool { return within(imp, root) })
}

// within reports whether the import path is root or lies below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func workspace(tb testing.TB) []pkg {
	tb.Helper()
	dirs := strings.Fields(string(goList(tb, "-m", "-f", "{{.Dir}}")))
	args := []string{"-e", "-json=ImportPath,Module,Imports,TestImports,XTestImports"}
	for _, dir := range dirs {
		args = append(args, filepath.Join(dir, "..."))
	}
	var out []pkg
	dec := json.NewDecoder(bytes.NewReader(goList(tb, args...)))
	for {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatalf("parse go list: %v", err)
		}
		out = append(out, p)
	}
}

func goList(tb testing.TB, args ...string) []byte {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "go", append([]string{"list"}, args...)...)
	cmd.Env = append(os.Environ(), "GOWORK=") // the workspace, also where it is switched off for the module
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("go list %q: %v\n%s", args, err, stderr.Bytes())
	}
	return out
}

func TestImportsRules(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, module, path string
		imports            []string
		want               int
	}{
		{"service uses kit and itself", "gitsplit/services/shell", "gitsplit/services/shell/internal/sshd", []string{"gitsplit/kit/errs", "gitsplit/services/shell/internal/cmdline", "fmt"}, 0},
		{"service uses a service", "gitsplit/services/shell", "gitsplit/services/shell/internal/sshd", []string{"gitsplit/services/gitaly/x"}, 1},
		{"a name that only begins alike", "gitsplit/services/rails-api", "gitsplit/services/rails-api/x", []string{"gitsplit/services/rails-apiary"}, 1},
		{"kit uses a service", "gitsplit/kit", "gitsplit/kit/errs", []string{"gitsplit/services/shell/x"}, 1},
		{"proto uses kit", "gitsplit/proto", "gitsplit/proto/go/gitalypb", []string{"gitsplit/kit/errs"}, 1},
		{"tests use a service", "gitsplit/e2e", "gitsplit/e2e", []string{"gitsplit/services/shell/x"}, 1},
		{"gitcmd starts git", "gitsplit/services/gitaly", "gitsplit/services/gitaly/internal/gitcmd", []string{"os/exec"}, 0},
		{"another package starts git", "gitsplit/services/gitaly", "gitsplit/services/gitaly/internal/repo", []string{"os/exec"}, 1},
		{"git in Go", "gitsplit/services/gitaly", "gitsplit/services/gitaly/internal/repo", []string{"github.com/go-git/go-git/v5"}, 1},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p := pkg{ImportPath: tc.path, Imports: tc.imports}
			p.Module.Path = tc.module
			if got := faults(p); len(got) != tc.want {
				t.Errorf("got faults %q, want %d", got, tc.want)
			}
		})
	}
}
