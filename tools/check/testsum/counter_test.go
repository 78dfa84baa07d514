package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func stream(tb testing.TB, events ...event) *bytes.Buffer {
	tb.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range events {
		if err := enc.Encode(e); err != nil {
			tb.Fatalf("encode event: %v", err)
		}
	}
	return &b
}

func TestCounter(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events []event
		want   string   // last line
		print  []string // further text that must appear
	}{
		{name: "nothing ran", want: "0 passed, 0 failed, 0 skipped"},
		{name: "subtests count, their parent does not", events: []event{
			{Action: "run", Package: "p", Test: "TestA"},
			{Action: "run", Package: "p", Test: "TestA/x"},
			{Action: "run", Package: "p", Test: "TestA/y"},
			{Action: "pass", Package: "p", Test: "TestA"},
			{Action: "pass", Package: "p", Test: "TestA/x"},
			{Action: "skip", Package: "p", Test: "TestA/y"},
			{Action: "pass", Package: "p"},
		}, want: "1 passed, 0 failed, 1 skipped", print: []string{"SKIP p.TestA/y"}},
		{name: "a failure fails its parents once", events: []event{
			{Action: "run", Package: "p", Test: "TestA"},
			{Action: "run", Package: "p", Test: "TestA/x"},
			{Action: "output", Package: "p", Test: "TestA/x", Output: "got 1, want 2\n"},
			{Action: "fail", Package: "p", Test: "TestA/x"},
			{Action: "fail", Package: "p", Test: "TestA"},
			{Action: "fail", Package: "p"},
		}, want: "0 passed, 1 failed, 0 skipped", print: []string{"got 1, want 2", "FAIL p.TestA/x"}},
		{name: "a name with a slash has no parent in front of it", events: []event{
			{Action: "run", Package: "p", Test: "TestA"},
			{Action: "run", Package: "p", Test: "TestA/x/y"},
			{Action: "pass", Package: "p", Test: "TestA/x/y"},
			{Action: "run", Package: "p", Test: "TestB"},
			{Action: "pass", Package: "p", Test: "TestA"},
			{Action: "fail", Package: "p", Test: "TestB"},
			{Action: "fail", Package: "p"},
		}, want: "1 passed, 1 failed, 0 skipped", print: []string{"FAIL p.TestB\n"}},
		{name: "a parent fails by itself", events: []event{
			{Action: "pass", Package: "p", Test: "TestA/x"},
			{Action: "fail", Package: "p", Test: "TestA"},
			{Action: "fail", Package: "p"},
		}, want: "1 passed, 1 failed, 0 skipped", print: []string{"FAIL p.TestA\n"}},
		{name: "a package dies in the middle of a test", events: []event{
			{Action: "run", Package: "p", Test: "TestA"},
			{Action: "output", Package: "p", Test: "TestA", Output: "panic: oh\n"},
			{Action: "fail", Package: "p"},
		}, want: "0 passed, 1 failed, 0 skipped", print: []string{"panic: oh", "FAIL p.TestA"}},
		{name: "a package fails beside its tests", events: []event{
			{Action: "pass", Package: "p", Test: "TestA"},
			{Action: "output", Package: "p", Output: "a process was left behind\n"},
			{Action: "fail", Package: "p"},
		}, want: "1 passed, 1 failed, 0 skipped", print: []string{"a process was left behind", "FAIL p\n"}},
		{name: "a package does not compile", events: []event{
			{Action: "build-output", ImportPath: "p [p.test]", Output: "undefined: x\n"},
			{Action: "build-fail", ImportPath: "p [p.test]"},
			{Action: "fail", Package: "p", FailedBuild: "p [p.test]"},
		}, want: "0 passed, 1 failed, 0 skipped", print: []string{"undefined: x", "FAIL p\n"}},
		{name: "packages without tests are no skips", events: []event{
			{Action: "output", Package: "p", Output: "?   \tp\t[no test files]\n"},
			{Action: "skip", Package: "p"},
		}, want: "0 passed, 0 failed, 0 skipped"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			c := newCounter(&out)
			if err := c.read(stream(t, tc.events...)); err != nil {
				t.Fatalf("read: %v", err)
			}
			c.summary()
			if !strings.HasSuffix("\n"+out.String(), "\n"+tc.want+"\n") {
				t.Errorf("got %q, want the last line %q", out.String(), tc.want)
			}
			for _, p := range tc.print {
				if !strings.Contains(out.String(), p) {
					t.Errorf("got %q, want %q in it", out.String(), p)
				}
			}
		})
	}
}

// TestRun drives the real go over a file with one test of each kind.
func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a_test.go")
	text := "package m\n\nimport \"testing\"\n\nfunc TestPass(*testing.T) {}\nfunc TestSkip(t *testing.T) { t.Skip(\"no moon\") }\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatalf("write the test: %v", err)
	}
	for _, tc := range []struct {
		name   string
		strict bool
		args   []string
		want   bool
		last   string
	}{
		{"skip is allowed", false, []string{file}, true, "1 passed, 0 failed, 1 skipped\n"},
		{"skip is not allowed", true, []string{file}, false, "1 passed, 0 failed, 1 skipped\n"},
		{"go test breaks", false, []string{"-nonsense"}, false, "0 passed, 1 failed, 0 skipped\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out, errs strings.Builder
			ok, err := run(t.Context(), tc.args, &out, &errs, tc.strict)
			if err != nil || ok != tc.want || !strings.HasSuffix(out.String(), tc.last) {
				t.Errorf("run: got %t, %v, %q (stderr %q), want %t and the last line %q", ok, err, out.String(), errs.String(), tc.want, tc.last)
			}
		})
	}
}
