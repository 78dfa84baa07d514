package operation

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var bodies = []string{"", "\n", "one\n", "one", "\n\n  one  \n\n\n\ntwo\t\r\n\n", "  indented\n\n", "a\f\n\v\nb", strings.Repeat("long ", 10000) + "\n"}

// TestMessage compares the cleaning with git's own.
func TestMessage(t *testing.T) {
	t.Parallel()
	for _, subject := range []string{"subject", "", "two\nlines  "} {
		for _, body := range bodies {
			file := filepath.Join(t.TempDir(), "body")
			if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := message(subject, file)
			cmd := exec.CommandContext(t.Context(), "git", "stripspace")
			cmd.Stdin = strings.NewReader(subject + "\n\n" + body)
			want, gitErr := cmd.Output()
			if err != nil || gitErr != nil || string(got) != string(want) {
				t.Errorf("message(%q, %q) = %q, %v, git has %q, %v", subject, body, got, err, want, gitErr)
			}
		}
	}
}
