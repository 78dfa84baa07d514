package logs_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"gitsplit/ctl/internal/logs"
)

func TestFile_beginsAnewWhenFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	f, err := logs.OpenFile(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"one\n", "two\n", "three\n", "four\n", "longer than the limit\n", "x\n"} {
		if _, err := f.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{path: "x\n", path + ".1": "longer than the limit\n"}
	for name, content := range want {
		got, err := os.ReadFile(name)
		if err != nil || string(got) != content {
			t.Errorf("%s: %q, %v, want %q", name, got, err, content)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the log's mode is %v (%v)", info.Mode(), err)
	}
}

func TestFile_linkIsNotFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a.log")
	if err := os.Symlink("/dev/null", path); err != nil {
		t.Fatal(err)
	}
	if f, err := logs.OpenFile(path, 10); err == nil {
		_ = f.Close()
		t.Error("a symbolic link was opened as the log")
	}
}

func TestSink(t *testing.T) {
	t.Parallel()
	var file, terminal bytes.Buffer
	sink := logs.NewSink("gitaly", &file, logs.NewConsole(&terminal, false, false, 8), logs.JSON)
	input := `{"level":"INFO","msg":"access"}` + "\n" + `{"level":"WARN","msg":"slow","service":"gitaly","ms":12,"who":"a b"}` +
		"\npanic: \x1b[2Joh\n" + `{"level":"ERROR","msg":"bad` + `\u001b"}` + "\nrest"
	for i := range len(input) { // in the smallest pieces
		if n, err := sink.Write([]byte(input[i : i+1])); n != 1 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	wantTerminal := "gitaly   | WARN slow ms=12 who=\"a b\"\ngitaly   | panic:  [2Joh\ngitaly   | ERROR bad\n"
	if diff := cmp.Diff(wantTerminal, terminal.String()); diff != "" {
		t.Errorf("terminal (-want +got):\n%s", diff)
	}
	if words := sink.LastWords(); words != nil {
		t.Errorf("last words are repeated: %q", words)
	}
	if file.String() != input+"\n" {
		t.Errorf("file: %q, want %q", file.String(), input+"\n")
	}
}

func TestSink_LastWords(t *testing.T) {
	t.Parallel()
	var file, terminal bytes.Buffer
	sink := logs.NewSink("redis", &file, logs.NewConsole(&terminal, false, false, 5), logs.Quiet)
	for i := range 20 {
		if _, err := fmt.Fprintf(sink, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	words := sink.LastWords()
	if len(words) != 12 || words[0] != "line 8" || words[11] != "line 19" || terminal.Len() > 0 {
		t.Errorf("last words: %q; on the terminal: %q", words, terminal.String())
	}
}

func TestSink_longLine(t *testing.T) {
	t.Parallel()
	var file, terminal bytes.Buffer
	sink := logs.NewSink("a", &file, logs.NewConsole(&terminal, true, true, 1), logs.Quiet)
	for range 100 {
		if _, err := sink.Write(bytes.Repeat([]byte("x"), 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	sink.LastWords()
	if file.Len() > 70_000 {
		t.Errorf("a line of 1 MB was kept with %d bytes", file.Len())
	}
}

func TestPostgres(t *testing.T) {
	t.Parallel()
	tests := map[string]slog.Level{
		"2026-01-01 UTC [12] PANIC:  could not write":           slog.LevelWarn,
		"2026-01-01 UTC [12] ERROR:  duplicate key":             slog.LevelInfo,
		"2026-01-01 UTC [12] FATAL:  connection to client lost": slog.LevelInfo,
	}
	for line, want := range tests {
		if got := logs.Postgres(line).Level; got != want {
			t.Errorf("%q is %v, want %v", line, got, want)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if logs.IsTerminal(f, func(string) (string, bool) { return "", false }) {
		t.Error("a file is taken for a terminal")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if logs.IsTerminal(null, func(string) (string, bool) { return "1", true }) {
		t.Error("NO_COLOR is not respected")
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"level":"WARN","msg":"x","n":{"a":[1]}}`)
	f.Add("{\"msg\":\"\\u001b[31m\"}")
	f.Add("panic: \x1b")
	f.Fuzz(func(t *testing.T, line string) {
		if text := logs.JSON(line).Text; strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("control characters in %q", text)
		}
	})
}
