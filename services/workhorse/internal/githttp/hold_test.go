package githttp

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestHold(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", keptInMemory)
	cases := []struct {
		name   string
		pieces []string
	}{
		{"nothing", nil},
		{"a little", []string{"a", "b"}},
		{"more than stays in memory", []string{"a", big, big, "z"}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var dst bytes.Buffer
			dir := t.TempDir()
			h := &hold{dst: &dst, tempDir: dir}
			for _, p := range tc.pieces {
				if n, err := io.WriteString(h, p); n != len(p) || err != nil {
					t.Fatalf("Write = %d, %v", n, err)
				}
			}
			if dst.Len() > 0 {
				t.Errorf("%d bytes came through early", dst.Len())
			}
			if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
				t.Errorf("files with names: %v, %v", names, err)
			}
			h.release()
			h.release()
			if _, err := io.WriteString(h, "after"); err != nil {
				t.Fatal(err)
			}
			if want := strings.Join(tc.pieces, "") + "after"; dst.String() != want {
				t.Errorf("got %d bytes, want %d", dst.Len(), len(want))
			}
			if err := h.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestHold_faults(t *testing.T) {
	t.Parallel()
	h := &hold{dst: io.Discard, limit: 10}
	if _, err := io.WriteString(h, "0123456789"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(h, "x"); !errors.Is(err, errHoldFull) {
		t.Errorf("past the limit: %v", err)
	}
	h = &hold{dst: io.Discard, tempDir: "/nonexistent"}
	if _, err := h.Write(make([]byte, keptInMemory+1)); err == nil {
		t.Error("no directory for the file, and no error")
	}
	pr, pw := io.Pipe()
	_ = pr.Close()
	h = &hold{dst: pw}
	if _, err := io.WriteString(h, "a"); err != nil {
		t.Fatal(err)
	}
	h.release()
	if _, err := io.WriteString(h, "b"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after a failed release: %v", err)
	}
}

func TestAcceptsGzip(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]bool{
		"": false, "gzip": true, "deflate, GZIP": true, "gzip;q=0": false, "gzip; q=0.5": true, "identity;q=1, gzip;q=0.5": false,
		"gzip;q=x": false, "*": false, "br": false, "identity;q=0.5,gzip;q=1.0": true,
	} {
		if got := acceptsGzip(map[string][]string{"Accept-Encoding": {header}}); got != want {
			t.Errorf("acceptsGzip(%q) = %v", header, got)
		}
	}
}

func TestLimitedBody(t *testing.T) {
	t.Parallel()
	for size := range 8 {
		b := &limitedBody{ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("x", size))), left: 5}
		got, err := io.ReadAll(b)
		if tooLarge := size > 5; errors.Is(err, errTooLarge) != tooLarge || !tooLarge && (len(got) != size || err != nil) {
			t.Errorf("body of %d bytes: %d, %v", size, len(got), err)
		}
	}
}
