package ref //nolint:testpackage // of how git's words are read

import (
	"errors"
	"strings"
	"testing"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// TestTransaction_explain reads what git says of transactions that fail.
func TestTransaction_explain(t *testing.T) {
	t.Parallel()
	a, b, zero := strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("0", 40)
	for _, tc := range []struct {
		text string
		kind errs.Kind
		want error // the detail; nil for none
	}{
		{"prepare: cannot lock ref 'refs/heads/it's': is at " + a + " but expected " + b, errs.Conflict, &StateError{Name: "refs/heads/it's", Expected: b, Actual: a}},
		{"prepare: cannot lock ref 'refs/heads/x': reference already exists", errs.Conflict, &StateError{Name: "refs/heads/x", Expected: zero}},
		{"prepare: cannot lock ref 'refs/heads/\xff': unable to resolve reference 'refs/heads/\xff'", errs.Conflict, &StateError{Name: "refs/heads/\xff", Actual: zero}},
		{"prepare: cannot lock ref 'refs/heads/x': Unable to create '/a b/c:d/refs/heads/x.lock': File exists.\n\nAnother git process", errs.Conflict, &LockedError{Name: "refs/heads/x"}},
		{"prepare: Unable to create '/r.git/packed-refs.lock': File exists.", errs.Conflict, &LockedError{}},
		{"prepare: cannot lock references", errs.Conflict, &LockedError{}},
		{"prepare: cannot lock ref 'refs/heads/x/y': 'refs/heads/x' exists; cannot create 'refs/heads/x/y'", errs.Conflict, nil},
		{"prepare: cannot update ref 'refs/heads/x': trying to write ref 'refs/heads/x' with nonexistent object " + a, errs.NotFound, nil},
		{"prepare: cannot update ref 'refs/heads/x': trying to write non-commit object " + a + " to branch 'refs/heads/x'", errs.Invalid, nil},
		{"prepare: multiple updates for ref 'refs/heads/x' not allowed", errs.Invalid, nil},
		{"update refs/heads/x: invalid <newvalue>: " + a, errs.Invalid, nil},
	} {
		tx := Transaction{zero: zero}
		err := tx.explain(&gitcmd.Error{Command: "update-ref", Code: 128, Stderr: "fatal: " + tc.text + "\n", Err: errors.New("exit status 128")})
		var state *StateError
		var locked *LockedError
		got := ""
		switch {
		case errors.As(err, &state):
			got = state.Error()
		case errors.As(err, &locked):
			got = locked.Error()
		}
		want := ""
		if tc.want != nil {
			want = tc.want.Error()
		}
		if errs.KindOf(err) != tc.kind || got != want {
			t.Errorf("%s: %v with %q, want %v with %q", tc.text, errs.KindOf(err), got, tc.kind, want)
		}
	}
	other := errors.New("signal: killed")
	if err := (&Transaction{}).explain(other); !errors.Is(err, other) || errs.KindOf(err) != errs.Internal {
		t.Errorf("not git's words: %v", err)
	}
}
