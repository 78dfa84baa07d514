package archive_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/archive"
)

const part = 4 << 20

// sample is an archive with an empty stream, one of several parts and one of exactly one part.
func sample(t testing.TB) (text []byte, streams map[string]string) {
	t.Helper()
	streams = map[string]string{
		"empty": "", "long": strings.Repeat("0123456789abcdef", part/16*2) + "rest", "one": strings.Repeat("x", part), "repositories/1.bundle": "# v2 git bundle",
	}
	var out bytes.Buffer
	w := archive.NewWriter(&out, time.Now())
	for _, name := range []string{"empty", "long", "one", "repositories/1.bundle"} {
		if n, err := w.Add(name, strings.NewReader(streams[name])); err != nil || n != int64(len(streams[name])) {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
	}
	if err := w.AddJSON("facts.json", map[string]int{"format": 1}); err != nil {
		t.Fatal(err)
	}
	streams["facts.json"] = "{\"format\":1}\n"
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), streams
}

func readAll(r io.Reader) (map[string]string, error) {
	got := map[string]string{}
	for a := archive.NewReader(r); ; {
		name, err := a.Next()
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		content, err := io.ReadAll(a)
		if err != nil {
			return got, err
		}
		got[name] = string(content)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	text, want := sample(t)
	got, err := readAll(iotest.OneByteReader(bytes.NewReader(text[:0])))
	if errs.KindOf(err) != errs.Invalid {
		t.Errorf("nothing is an archive: %v %v", got, err)
	}
	got, err = readAll(bytes.NewReader(text))
	if err != nil || !maps.Equal(got, want) {
		t.Fatalf("read %d streams, %v", len(got), err)
	}
	// A reader that leaves streams unread still compares the sum.
	a := archive.NewReader(bytes.NewReader(text))
	for {
		if _, err = a.Next(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("passed over: %v", err)
	}
	if size, err := archive.Verify(bytes.NewReader(text)); err != nil || size < 3*part {
		t.Errorf("verify: %d, %v", size, err)
	}
}

// TestArchive_tools takes an archive apart as somebody does who has no gitsplit.
func TestArchive_tools(t *testing.T) {
	t.Parallel()
	text, want := sample(t)
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "tar", "-C", dir, "-xf", "-")
	cmd.Stdin = bytes.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	var got []byte
	parts, err := filepath.Glob(filepath.Join(dir, "long.part-*"))
	if err != nil || len(parts) != 3 {
		t.Fatalf("parts: %v, %v", parts, err)
	}
	for _, p := range parts {
		content, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, content...)
	}
	if string(got) != want["long"] {
		t.Error("the parts together are another stream")
	}
}

func TestArchive_damaged(t *testing.T) {
	t.Parallel()
	text, _ := sample(t)
	// A flipped bit is found where it matters: anywhere but in fields of headers that tell us nothing.
	for _, at := range []int{512 * 3, len(text) / 3, len(text) / 2, len(text) * 2 / 3} {
		broken := bytes.Clone(text)
		broken[at] ^= 1
		if _, err := archive.Verify(bytes.NewReader(broken)); errs.KindOf(err) != errs.Invalid {
			t.Errorf("byte %d changed: %v", at, err)
		}
	}
	for _, size := range []int{0, 100, 512, 1024, part, len(text) / 2, len(text) - 2048, len(text) - 1537} {
		if _, err := archive.Verify(bytes.NewReader(text[:size])); errs.KindOf(err) != errs.Invalid {
			t.Errorf("cut to %d of %d bytes: %v", size, len(text), err)
		}
	}
	if _, err := archive.Verify(io.MultiReader(bytes.NewReader(text[:part]), iotest.ErrReader(errors.New("disk")))); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("a failing disk: %v", err)
	}
	w := archive.NewWriter(io.Discard, time.Now())
	if _, err := w.Add("x", iotest.ErrReader(errors.New("gitaly"))); err == nil || !strings.Contains(err.Error(), "gitaly") {
		t.Errorf("a failing source: %v", err)
	}
}

func FuzzReader(f *testing.F) {
	var small bytes.Buffer
	w := archive.NewWriter(&small, time.Now())
	for _, s := range []string{"", "abc"} {
		if _, err := w.Add("n"+s, strings.NewReader(s)); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(small.Bytes())
	f.Add(small.Bytes()[:1024])
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := archive.Verify(bytes.NewReader(text)); err != nil && errs.KindOf(err) != errs.Invalid {
			t.Error(err)
		}
	})
}
