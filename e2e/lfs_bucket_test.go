package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gitsplit/e2e/stack"
	"gitsplit/kit/s3test"
)

// TestLFS_bucket: large files lie in object storage, where workhorse puts them with signed addresses, in parts when they are large. Who
// pushes and clones does not notice.
func TestLFS_bucket(t *testing.T) {
	t.Parallel()
	bucket := s3test.New(t)
	home := filepath.Join(instanceDir(t), "home")
	s, err := stack.Start(t.Context(), bin, home, "GITSPLIT_OBJECT_STORAGE="+bucket.URL(), "AWS_SHARED_CREDENTIALS_FILE="+s3test.Credentials(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		noSecrets(t, filepath.Join(home, "log"), s3test.SecretKey, "X-Amz-Signature")
	}()
	p := lfsProjectOf(t, s, "private")
	small, smallID := content(11, 100_000)
	large, largeID := content(12, 65<<20)
	files := map[string][]byte{"small.dat": small, "large.dat": large}
	push, dir := clientOf(t, p.owner, "ssh"), filepath.Join(t.TempDir(), "push")
	push.git("", "init", "-q", dir)
	push.git(dir, "lfs", "install", "--local")
	push.git(dir, "lfs", "track", "*.dat")
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	push.git(dir, "add", ".")
	push.git(dir, "commit", "-q", "-m", "one")
	push.git(dir, "push", "-q", push.url("p"), "HEAD:refs/heads/main")
	// Workhorse removes what it stored when it has answered.
	stored := func() {
		t.Helper()
		eventually(t, 10*time.Second, func() string {
			keys := bucket.Keys()
			for key := range keys {
				if !strings.HasPrefix(key, "lfs/"+smallID[:2]) && !strings.HasPrefix(key, "lfs/"+largeID[:2]) {
					return key + " is in the bucket"
				}
			}
			if len(keys) != 2 || bucket.Uploads() != 0 {
				return fmt.Sprintf("%v and %d unfinished uploads", keys, bucket.Uploads())
			}
			return ""
		})
	}
	stored()
	if bucket.Requests("POST uploadId") != 1 {
		t.Errorf("%d uploads in parts, want that of the large file", bucket.Requests("POST uploadId"))
	}

	clone, copied := clientOf(t, p.owner, "http"), filepath.Join(t.TempDir(), "clone")
	clone.git("", "-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "clone", "-q", clone.url("p"), copied)
	for name, data := range files {
		if got, err := os.ReadFile(filepath.Join(copied, name)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	href, header := p.batch("download", smallID, len(small))
	status, got, raw, err := p.do(t.Context(), http.MethodGet, href, nil, "Authorization", header["Authorization"], "Range", "bytes=5-9")
	if err != nil || status != http.StatusPartialContent || !bytes.Equal(raw, small[5:10]) || got.Get("Content-Type") != "application/octet-stream" || got.Get("X-Amz-Request-Id") != "" {
		t.Errorf("a range: %d %q %v, %v", status, raw, got, err)
	}

	other, otherID := content(13, 1000)
	if status, answer := p.upload(otherID, len(other), bytes.NewReader(small[:1000])); status != http.StatusBadRequest || answer != "SHA256 or size mismatch" {
		t.Errorf("other content: %d %s", status, answer)
	}
	stored()
	bucket.SetDown(true)
	if status, answer := p.upload(otherID, len(other), bytes.NewReader(other)); status < 500 {
		t.Errorf("without the bucket: %d %s", status, answer)
	}
	bucket.SetDown(false)
	if status, answer := p.upload(otherID, len(other), bytes.NewReader(other)); status != http.StatusOK {
		t.Errorf("with the bucket again: %d %s", status, answer)
	}
}

// noSecrets reads all logs of an instance.
func noSecrets(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(logs) == 0 {
		t.Fatalf("no logs, %v", err)
	}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q", log, secret)
			}
		}
	}
}
