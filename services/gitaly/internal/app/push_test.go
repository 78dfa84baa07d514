package app_test

import (
	"strings"
	"testing"
)

const rel = "@hashed/6b/86/6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b.git"

func TestPushAndClone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	dir := b.create(t, rel)
	for name, url := range map[string]string{"ssh": remote(rel), "http": b.httpBridge(t) + "/" + rel} {
		c := b.client(t)
		id := c.commit(t, name+".txt", strings.Repeat("content of "+name+"\n", 10))
		out := c.git(t, "push", url, "HEAD:refs/heads/"+name)
		if !strings.Contains(out, "[new branch]") {
			t.Errorf("push: %s", out)
		}
		for _, protocol := range []string{"0", "1", "2"} {
			if got := c.git(t, "-c", "protocol.version="+protocol, "ls-remote", url, "refs/heads/"+name); !strings.HasPrefix(got, id) {
				t.Errorf("%s, protocol %s: ls-remote = %q, want %s", name, protocol, got, id)
			}
			clone := b.client(t)
			clone.git(t, "-c", "protocol.version="+protocol, "clone", "-q", "-b", name, url, "copy")
			if got := clone.git(t, "-C", "copy", "rev-parse", "HEAD"); got != id {
				t.Errorf("%s, protocol %s: cloned %s, want %s", name, protocol, got, id)
			}
		}
	}
	b.assertClean(t, dir)
}
