package ratelimit_test

import (
	"testing"
	"time"

	"gitsplit/services/rails-api/internal/ratelimit"
	"gitsplit/services/rails-api/internal/redistest"
)

// TestLimiter: each scope is counted by itself and begins anew with the next minute.
func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 50, 0, time.UTC)
	l := ratelimit.New(redistest.New(t), func() time.Time { return now })
	over := func(want bool, limit int64, scopes ...[]string) {
		t.Helper()
		if got, err := l.Over(t.Context(), "push", limit, scopes...); got != want || err != nil {
			t.Errorf("%q over %d: %v, %v", scopes, limit, got, err)
		}
	}
	a, b := []string{"ab", "c"}, []string{"a", "bc"} // parts do not run together
	over(false, 2, a)
	over(false, 2, a)
	over(false, 2, b)
	over(true, 2, b, a)
	over(false, 0, a)
	if at := l.Reset(); !at.Equal(now.Add(10 * time.Second)) {
		t.Errorf("reset at %v", at)
	}
	now = now.Add(10 * time.Second)
	over(false, 2, a)
	if _, err := ratelimit.New(redistest.Down(t), time.Now).Over(t.Context(), "push", 1, a); err == nil {
		t.Error("no error without Redis")
	}
}

// TestBans: who fails too often within the time is banned, and who succeeds in between begins anew.
func TestBans(t *testing.T) {
	t.Parallel()
	r := redistest.New(t)
	bans := ratelimit.NewBans(r, "login", ratelimit.Rule{Failures: 2, Within: time.Minute, For: time.Hour})
	who := []string{"192.0.2.1"}
	fail := func(want bool) {
		t.Helper()
		if got, err := bans.Fail(t.Context(), who); got != want || err != nil {
			t.Errorf("banned %v, %v", got, err)
		}
	}
	fail(false)
	if banned, failed, err := bans.Banned(t.Context(), who); banned || !failed || err != nil {
		t.Errorf("after one failure: %v, %v, %v", banned, failed, err)
	}
	if err := bans.Forgive(t.Context(), who); err != nil {
		t.Error(err)
	}
	fail(false)
	fail(true)
	if banned, _, err := bans.Banned(t.Context(), who); !banned || err != nil {
		t.Errorf("after two: %v, %v", banned, err)
	}
	if banned, _, err := bans.Banned(t.Context(), []string{"192.0.2.2"}); banned || err != nil {
		t.Errorf("somebody else: %v, %v", banned, err)
	}
	for _, key := range r.Keys(t.Context(), "*").Val() {
		if ttl := r.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > time.Hour {
			t.Errorf("%s expires in %v", key, ttl)
		}
	}
	none := ratelimit.NewBans(r, "login", ratelimit.Rule{})
	if banned, failed, err := none.Banned(t.Context(), who); banned || failed || err != nil {
		t.Errorf("without a rule: %v, %v, %v", banned, failed, err)
	}
}
