package trace_test

import (
	"testing"

	"gitsplit/bench/internal/trace"
)

func TestPrograms(t *testing.T) {
	t.Parallel()
	const text = `100 execve("/usr/bin/git", ["git", "-c", "core.hooksPath=/x", "receive-pack", "/r.git"], 0xc000 /* 9 vars */) = 0
101 execve("/usr/local/bin/git", ["git", "rev-list"], 0xc000 /* 9 vars */) = -1 ENOENT (No such file or directory)
101 execve("/usr/bin/git", ["git", "rev-list", "--objects"], 0xc000 /* 9 vars */ <unfinished ...>
102 execve("/run/hooks/pre-receive", ["hooks/pre-receive"], 0x55 /* 20 vars */) = 0
101 <... execve resumed>)                   = 0
103 execve("/usr/bin/nothing", ["nothing"], 0x55 /* 20 vars */ <unfinished ...>
103 <... execve resumed>) = -1 ENOENT (No such file or directory)
100 +++ exited with 0 +++
`
	want := "1 git receive-pack, 1 git rev-list, 1 pre-receive"
	if got := trace.Count(trace.Programs(text)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
