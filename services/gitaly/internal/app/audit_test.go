package app_test

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// audit follows the system calls of gitaly and its children, and knows what of a
// repository a crash of the machine could lose: files written and not synced since,
// and directories with new names that were not.
type audit struct {
	repo    string
	files   map[string]bool
	names   map[string]map[string]bool // by directory
	pending map[string]string          // by process: the beginning of a call that is under way
	synced  int
}

// calls are those that matter, for strace.
const calls = "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir," +
	"write,writev,pwrite64,sendmsg,sendto,copy_file_range,fsync,fdatasync,syncfs"

func newAudit(repo string) *audit {
	return &audit{repo: repo, files: map[string]bool{}, names: map[string]map[string]bool{}, pending: map[string]string{}}
}

var (
	straceLine = regexp.MustCompile(`^([0-9]+) +([0-9.]+) (.*)$`)
	resumed    = regexp.MustCompile(`^<\.\.\. \w+ resumed>(.*)$`)
	callText   = regexp.MustCompile(`^(\w+)\((.*)\) += ([0-9]+)(<([^>]*)>)?`)
	firstFD    = regexp.MustCompile(`^[0-9]+<([^>]*)>`)
	argText    = regexp.MustCompile(`(?:<([^>]*)>, )?"((?:[^"\\]|\\.)*)"`)
)

// read goes through strace's output between two moments, in seconds, at most to a line
// with which report says that success is being told.
func (a *audit) read(t *testing.T, file string, from, until float64, report func(name, args string) bool) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 16<<20)
	for scanner.Scan() {
		m := straceLine.FindStringSubmatch(scanner.Text())
		if m == nil {
			continue
		}
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case at > until:
			return
		case at < from:
			continue
		}
		text, ok := a.whole(m[1], m[3])
		name, args, _ := strings.Cut(text, "(")
		if !strings.HasPrefix(m[3], "<...") && report(name, args) { // as soon as it begins
			return
		}
		if c := callText.FindStringSubmatch(text); ok && c != nil {
			a.call(c[1], c[2], c[5])
		}
	}
	if err := scanner.Err(); err != nil {
		t.Fatal(err)
	}
}

// whole puts a call together that strace shows in two parts, since others came between.
func (a *audit) whole(pid, text string) (string, bool) {
	if begin, ok := strings.CutSuffix(text, " <unfinished ...>"); ok {
		a.pending[pid] = begin
		return begin, false
	}
	if m := resumed.FindStringSubmatch(text); m != nil {
		text = a.pending[pid] + m[1]
		delete(a.pending, pid)
	}
	return text, true
}

// call notes what one successful call changes; opened is the path behind its result.
func (a *audit) call(name, args, opened string) {
	var paths []string
	for _, m := range argText.FindAllStringSubmatch(args, 2) {
		paths = append(paths, a.path(m[1], m[2]))
	}
	switch name {
	case "fsync", "fdatasync":
		if m := firstFD.FindStringSubmatch(args); m != nil {
			if a.inside(m[1]) {
				a.synced++
			}
			delete(a.files, m[1])
			delete(a.names, m[1])
		}
	case "syncfs":
		if m := firstFD.FindStringSubmatch(args); m != nil && a.inside(m[1]) {
			a.synced++
			clear(a.files)
			clear(a.names)
		}
	case "write", "pwrite64", "writev", "copy_file_range":
		if m := firstFD.FindStringSubmatch(args); m != nil && a.inside(m[1]) {
			a.files[m[1]] = true
		}
	case "open", "openat", "creat":
		if strings.Contains(args, "O_CREAT") || name == "creat" {
			a.gained(opened)
		}
	case "mkdir", "mkdirat":
		a.gained(paths[0])
	case "symlink", "symlinkat":
		a.gained(paths[1])
	case "link", "linkat":
		a.gained(paths[1])
		if a.files[paths[0]] {
			a.files[paths[1]] = true
		}
	case "rename", "renameat", "renameat2":
		a.gained(paths[1])
		delete(a.files, paths[1])
		if a.files[paths[0]] {
			a.files[paths[1]] = true
		}
		a.lost(paths[0])
	case "unlink", "unlinkat", "rmdir":
		a.lost(paths[0])
	}
}

// path is absolute: a name may begin at a directory that was opened before, and git
// receive-pack works in the repository.
func (a *audit) path(dir, name string) string {
	switch {
	case filepath.IsAbs(name):
		return filepath.Clean(name)
	case dir != "":
		return filepath.Join(dir, name)
	}
	return filepath.Join(a.repo, name)
}

func (a *audit) inside(path string) bool {
	return path == a.repo || strings.HasPrefix(path, a.repo+"/")
}

func (a *audit) gained(path string) {
	if !a.inside(path) {
		return
	}
	dir := filepath.Dir(path)
	if a.names[dir] == nil {
		a.names[dir] = map[string]bool{}
	}
	a.names[dir][path] = true
}

func (a *audit) lost(path string) {
	for _, gone := range slices.Collect(maps.Keys(a.files)) {
		if gone == path || strings.HasPrefix(gone, path+"/") {
			delete(a.files, gone)
		}
	}
	for _, dir := range slices.Collect(maps.Keys(a.names)) {
		if dir == path || strings.HasPrefix(dir, path+"/") {
			delete(a.names, dir)
		}
	}
	if names := a.names[filepath.Dir(path)]; names != nil {
		if delete(names, path); len(names) == 0 {
			delete(a.names, filepath.Dir(path))
		}
	}
}

// wantDurable fails the test for what could be lost, and when too little was seen to
// believe it.
func (a *audit) wantDurable(t *testing.T, syncs int) {
	t.Helper()
	var lost []string
	for file := range a.files {
		if !strings.Contains(file, "/objects/tmp_objdir-") && !strings.HasSuffix(file, ".lock") {
			lost = append(lost, "file "+file)
		}
	}
	for dir, names := range a.names {
		for name := range names {
			if !strings.Contains(name, "/objects/tmp_objdir-") && !strings.HasSuffix(name, ".lock") && !strings.HasSuffix(name, ".keep") {
				lost = append(lost, fmt.Sprintf("name %s in %s", filepath.Base(name), dir))
			}
		}
	}
	slices.Sort(lost)
	if len(lost) > 0 {
		t.Errorf("success was told before these were on the disk:\n%s", strings.Join(lost, "\n"))
	}
	if a.synced < syncs {
		t.Errorf("only %d syncs in the repository, want %d or more: was everything seen?", a.synced, syncs)
	}
}
