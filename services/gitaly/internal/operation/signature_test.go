package operation_test

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"gitsplit/kit/errs"
	"gitsplit/proto/go/gitalypb"
	"gitsplit/services/gitaly/internal/operation"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func service() *operation.Service {
	return operation.New(operation.Options{Now: func() time.Time { return noon }})
}

// TestSignature_Line compares names with what git makes of them.
func TestSignature_Line(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"Ada", "Ada Lovelace", "  Ada  ", "\tAda\n", "Ada <ada>", "A<d>a", "Ada\nLovelace", "'Ada'", `"Ada"`, `\Ada\`, ",;:Ada:;,", "O'Neill", "Ö", "\xff", "愛", "<Ada", "A, B", "\x01Ada\x1f",
	} {
		line, err := mustSign(t, &gitalypb.User{Name: []byte(name), Email: []byte(name)}, nil).Line()
		if err != nil {
			t.Errorf("%q: %v", name, err)
			continue
		}
		cmd := exec.CommandContext(t.Context(), "git", "var", "GIT_COMMITTER_IDENT")
		cmd.Env = []string{"GIT_COMMITTER_NAME=" + name, "GIT_COMMITTER_EMAIL=" + name, "GIT_COMMITTER_DATE=1767355200 +0000", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
		out, err := cmd.CombinedOutput()
		if want := strings.TrimSuffix(string(out), "\n"); err != nil || line != want {
			t.Errorf("%q: %q, git has %q, %v", name, line, want, err)
		}
	}
	for _, name := range []string{"", " ", "<>", "\n", "\x00", ".,:;", `"'`} {
		if line, err := mustSign(t, &gitalypb.User{Name: []byte(name), Email: []byte("a")}, nil).Line(); errs.KindOf(err) != errs.Invalid {
			t.Errorf("%q: %q, %v", name, line, err)
		}
	}
}

func mustSign(t *testing.T, user *gitalypb.User, at *timestamppb.Timestamp) operation.Signature {
	t.Helper()
	s, err := service().Sign(user, at)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestService_Sign(t *testing.T) {
	t.Parallel()
	user := &gitalypb.User{Name: []byte("A"), Email: []byte("a@b")}
	for _, tc := range []struct {
		zone string
		at   *timestamppb.Timestamp
		want string
	}{
		{"", nil, "A <a@b> 1767355200 +0000"},
		{"America/New_York", nil, "A <a@b> 1767355200 -0500"},
		{"Asia/Kathmandu", &timestamppb.Timestamp{Seconds: 1, Nanos: 999}, "A <a@b> 1 +0530"},
		{"", &timestamppb.Timestamp{Seconds: -1}, "timestamp is out of range"},
		{"", &timestamppb.Timestamp{Seconds: 1 << 40}, "timestamp is out of range"},
		{"Nowhere/Town", nil, "unknown time zone Nowhere/Town"},
	} {
		user.Timezone = tc.zone
		s, err := service().Sign(user, tc.at)
		got := errs.Message(err)
		if err == nil {
			got, err = s.Line()
		}
		if got != tc.want {
			t.Errorf("%q at %v: %q, %v, want %q", tc.zone, tc.at, got, err, tc.want)
		}
	}
	if got, _ := mustSign(t, &gitalypb.User{Name: []byte("A"), Email: []byte("a@b")}, nil).By([]byte(" B. "), []byte("\n")).Line(); got != "B <a@b> 1767355200 +0000" {
		t.Errorf("By = %q", got)
	}
}
