package failure_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"gitsplit/services/workhorse/internal/failure"
)

func TestLog(t *testing.T) {
	t.Parallel()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		want string
	}{
		{"our failure", t.Context(), "level=ERROR msg=\"git request failed\" git_service=git-upload-pack error=broken\n"},
		{"the client left", left, "level=INFO msg=\"client left\" git_service=git-upload-pack error=broken\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			log := slog.New(slog.NewTextHandler(&out, nil))
			failure.Log(tc.ctx, log, "git request failed", slog.String("git_service", "git-upload-pack"), errors.New("broken"))
			if _, got, _ := strings.Cut(out.String(), " "); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
