package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gitsplit/e2e/stack"
)

// resident returns the most bytes that a program of an instance has held in memory.
func resident(t *testing.T, s *stack.Stack, program string) int64 {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil || !bytes.HasPrefix(line, []byte(filepath.Join(bin, program)+"\x00")) || !bytes.Contains(line, []byte(s.Home+"/")) {
			continue
		}
		status, err := os.ReadFile(filepath.Join(dir, "status")) //nolint:gosec // of a process
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(status), "VmHWM:")
		kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return kilobytes << 10
	}
	t.Fatalf("%s does not run", program)
	return 0
}

// TestLFS_large: an object larger than the memory that any service may use goes up
// and comes down. E2E_LFS_BYTES makes it larger.
func TestLFS_large(t *testing.T) {
	t.Parallel()
	size := int64(250 << 20)
	if given := os.Getenv("E2E_LFS_BYTES"); given != "" {
		var err error
		if size, err = strconv.ParseInt(given, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	data := func() io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{9}), size) }
	sum := sha256.New()
	if _, err := io.Copy(sum, data()); err != nil {
		t.Fatal(err)
	}
	oid := hex.EncodeToString(sum.Sum(nil))
	p := newLFSProject(t, "private")
	if status, answer := p.upload(oid, int(size), data()); status != http.StatusOK {
		t.Fatalf("upload: %d %s", status, answer)
	}
	href, header := p.batch("download", oid, int(size))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, href, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", header["Authorization"])
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	sum.Reset()
	if n, err := io.Copy(sum, resp.Body); err != nil || resp.StatusCode != http.StatusOK || hex.EncodeToString(sum.Sum(nil)) != oid {
		t.Errorf("download: %d, %d bytes, %v", resp.StatusCode, n, err)
	}
	const most = 200 << 20
	for _, program := range []string{"gitlab-workhorse", "rails-api"} {
		held := resident(t, shared, program)
		t.Logf("%s held %d MiB at most, with an object of %d MiB", program, held>>20, size>>20)
		if held > most {
			t.Errorf("%s held %d MiB", program, held>>20)
		}
	}
}
