package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestGit_large: a repository larger than workhorse may hold in memory is pushed and
// cloned over HTTP. E2E_GIT_MIB makes it larger.
func TestGit_large(t *testing.T) {
	t.Parallel()
	mib := 150
	if given := os.Getenv("E2E_GIT_MIB"); given != "" {
		var err error
		if mib, err = strconv.Atoi(given); err != nil {
			t.Fatal(err)
		}
	}
	c := newClient(t, shared, "http")
	dir := c.worktree("large")
	c.git(dir, "config", "core.compression", "0") // what is random only costs time
	c.git(dir, "config", "core.bigFileThreshold", "1m")
	const each = 50
	for i := 0; i < mib; i += each {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("blob%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		src := rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)})
		if _, err := io.CopyN(f, src, int64(min(each, mib-i))<<20); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.git(dir, "add", ".")
	c.git(dir, "commit", "-q", "-m", "much")
	c.git(dir, "push", "-q", "origin", "main")
	copied := filepath.Join(filepath.Dir(dir), "copy")
	c.git(dir, "clone", "-q", "--bare", c.url("large"), copied)
	if want, got := c.git(dir, "rev-parse", "main"), c.git(copied, "rev-parse", "main"); got != want {
		t.Errorf("cloned %s, want %s", got, want)
	}
	const most = 100 << 20
	held := resident(t, shared, "gitlab-workhorse")
	t.Logf("gitlab-workhorse held %d MiB at most, with a push and a clone of %d MiB", held>>20, mib)
	if held > most {
		t.Errorf("gitlab-workhorse held %d MiB", held>>20)
	}
}
