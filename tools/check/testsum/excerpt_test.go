package main

import (
	"fmt"
	"strings"
	"testing"
)

// numbered is the text of the lines from to to, both included.
func numbered(from, to int) string {
	var b strings.Builder
	for i := from; i <= to; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

func TestExcerpt(t *testing.T) {
	t.Parallel()
	const above = "lines left out, they stand above where the package ended\n"
	tests := []struct{ name, in, want string }{
		{name: "nothing", in: "", want: ""},
		{name: "a short text, whole", in: numbered(1, 40), want: numbered(1, 40)},
		{name: "the end of a long text", in: numbered(1, 65), want: "… 25 " + above + numbered(26, 65)},
		{
			name: "markers and empty lines take no room",
			in:   "=== RUN   TestA\n=== PAUSE TestA\n\n=== CONT  TestA\n" + numbered(1, 40) + "    --- FAIL: TestA (0.00s)\n", want: numbered(1, 40),
		},
		{
			name: "the start of a panic with many goroutines",
			in:   numbered(1, 5) + "panic: oh\n" + numbered(7, 90),
			want: "… 5 " + above + "panic: oh\n" + numbered(7, 45) + "… 45 " + above,
		},
		{
			name: "a short panic, with what came before it",
			in:   numbered(1, 50) + "fatal error: oh\n" + numbered(52, 60),
			want: "… 20 " + above + numbered(21, 50) + "fatal error: oh\n" + numbered(52, 60),
		},
		{name: "a long line", in: strings.Repeat("x", 1003) + "\n", want: strings.Repeat("x", 1000) + "… (3 more bytes)\n"},
		{name: "a long line cut in a character", in: strings.Repeat("x", 999) + "é\n", want: strings.Repeat("x", 999) + "… (2 more bytes)\n"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := excerpt(tc.in); got != tc.want {
				t.Errorf("got %q\nwant %q", got, tc.want)
			}
		})
	}
}

// TestSummary_repeatsFailures is a log whose failures are far above its end.
func TestSummary_repeatsFailures(t *testing.T) {
	t.Parallel()
	events := []event{
		{Action: "output", Package: "p", Test: "TestA", Output: "=== RUN   TestA\n"},
		{Action: "output", Package: "p", Test: "TestA/x", Output: numbered(1, 50)},
		{Action: "output", Package: "p", Test: "TestA/x", Output: "got 1, want 2\n"},
		{Action: "fail", Package: "p", Test: "TestA/x"},
		{Action: "output", Package: "p", Test: "TestA", Output: "--- FAIL: TestA\n"},
		{Action: "fail", Package: "p", Test: "TestA"},
		{Action: "output", Package: "p", Test: "TestB", Output: "panic: oh\n"},
		{Action: "output", Package: "p", Test: "TestB/x", Output: "--- FAIL: TestB/x\n"},
		{Action: "fail", Package: "p", Test: "TestB/x"},
		{Action: "fail", Package: "p"},
		{Action: "build-output", ImportPath: "q [q.test]", Output: "undefined: x\n"},
		{Action: "fail", Package: "q", FailedBuild: "q [q.test]"},
		{Action: "output", Package: "r", Test: "TestPass", Output: "a word\n"},
		{Action: "pass", Package: "r", Test: "TestPass"},
		{Action: "skip", Package: "r", Test: "TestSkip"},
		{Action: "pass", Package: "r"},
	}
	var out strings.Builder
	c := newCounter(&out)
	if err := c.read(stream(t, events...)); err != nil {
		t.Fatalf("read: %v", err)
	}
	out.Reset() // only the end is looked at
	c.summary()
	want := "SKIP r.TestSkip\n\n" +
		"\nFAIL p.TestA/x:\n… 11 lines left out, they stand above where the package ended\n" + numbered(12, 50) + "got 1, want 2\n" +
		"\nFAIL p.TestB:\npanic: oh\n" +
		"\nFAIL q:\nundefined: x\n" +
		"FAIL p.TestA/x\nFAIL p.TestB/x\nFAIL q\n1 passed, 3 failed, 1 skipped\n"
	if out.String() != want {
		t.Errorf("got %q\nwant %q", out.String(), want)
	}
}
