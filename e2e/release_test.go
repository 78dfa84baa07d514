package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"gitsplit/kit/fault"
)

// TestNoFaultPoints looks for the points of the fault suite in the release binaries:
// neither the code nor a name may be there.
func TestNoFaultPoints(t *testing.T) {
	t.Parallel()
	traces := []string{
		"kit/fault", fault.EnvSocket, fault.AfterKeyLookup, fault.AfterAccessCheck, fault.AfterPack, fault.BeforeAllowed,
		fault.AfterPreReceive, fault.AfterRefs, fault.BeforeExitStatus, fault.MidClone, fault.SkipJournal,
	}
	files, err := filepath.Glob(filepath.Join(bin, "*"))
	if err != nil || len(files) < 6 {
		t.Fatalf("programs: %v, %v", files, err)
	}
	for _, file := range files {
		program, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range traces {
			if bytes.Contains(program, []byte(trace)) {
				t.Errorf("%s holds %q", filepath.Base(file), trace)
			}
		}
	}
}
