package access_test

import (
	"strings"
	"testing"

	"gitsplit/services/rails-api/internal/access"
)

func FuzzParseChanges(f *testing.F) {
	zero, one := strings.Repeat("0", 40), strings.Repeat("1", 40)
	for _, s := range []string{"", "\n", zero + " " + one + " refs/heads/main\n", zero + " " + one, "x y z", strings.Repeat("a", 64) + " " + strings.Repeat("b", 64) + " r s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		changes, err := access.ParseChanges(text)
		if err != nil {
			return
		}
		lines := []string{}
		for _, c := range changes {
			if c.Ref == "" || len(c.Old) != len(c.New) || strings.Contains(c.Ref, "\n") {
				t.Fatalf("accepted %+v of %q", c, text)
			}
			lines = append(lines, c.Old+" "+c.New+" "+c.Ref)
		}
		if got := strings.Join(lines, "\n"); got != strings.TrimRight(text, "\n") {
			t.Errorf("%q parsed as %q", text, got)
		}
	})
}

func TestParseChanges_limit(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("0", 40) + " " + strings.Repeat("1", 40) + " refs/heads/x\n"
	if _, err := access.ParseChanges(strings.Repeat(line, access.MaxChanges)); err != nil {
		t.Errorf("the most that is allowed: %v", err)
	}
	if _, err := access.ParseChanges(strings.Repeat(line, access.MaxChanges+1)); err == nil {
		t.Error("more references than allowed were accepted")
	}
}
