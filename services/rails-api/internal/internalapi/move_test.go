package internalapi_test

import (
	"fmt"
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/counter"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/visibility"
)

const readOnly = `{"status":false,"message":"The repository is temporarily read-only. Please try again later."}`

// TestPreReceive_moving: a push that passed the access check is refused when pushes are held since, and when the repository has moved;
// it does not count as in flight then.
func TestPreReceive_moving(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ada := b.User("ada")
	p := b.Inhabited(ada.NamespaceID, "p", visibility.Private)
	pushes, projects := counter.New(b.Redis, b.Log, b.Now), project.New(b.DB)
	begin := func(path string) answer {
		return b.post("/pre_receive", map[string]string{"gl_repository": p.GLRepository(), "push_id": fmt.Sprintf("%032x", 1), "relative_path": path})
	}
	inFlight := func(want int64) {
		t.Helper()
		if n, err := pushes.InFlight(t.Context(), p.GLRepository()); n != want || err != nil {
			t.Errorf("%d pushes in flight, %v; want %d", n, err, want)
		}
	}
	allowed := func(path string) answer {
		return b.post("/allowed", map[string]any{
			"action": "git-receive-pack", "gl_repository": p.GLRepository(), "user_id": fmt.Sprint(ada.ID), "protocol": "http", "relative_path": path,
			"changes": id(0) + " " + id(2) + " refs/heads/x\n",
		})
	}
	until, err := projects.HoldPushes(t.Context(), p, time.Minute)
	b.Must(err)
	begin(p.DiskPath).want(t, 401, readOnly)
	begin("").want(t, 401, readOnly)
	allowed(p.DiskPath).want(t, 401, readOnly)
	inFlight(0)
	b.Must(projects.Relocate(t.Context(), p, "default", project.MovedPath(p.ID, 1), until))
	begin(p.DiskPath).want(t, 401, readOnly)
	allowed(p.DiskPath).want(t, 401, readOnly)
	inFlight(0)
	begin(project.MovedPath(p.ID, 1)).want(t, 200, `{"reference_counter_increased":true}`)
	inFlight(1)
}
