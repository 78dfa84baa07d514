package sshd

import "testing"

func TestStartups_drops(t *testing.T) {
	t.Parallel()
	s, err := ParseStartups("10:30:100")
	if err != nil {
		t.Fatal(err)
	}
	dropped := func(open int) (n int) {
		for chance := range 100 {
			if s.drops(open, chance) {
				n++
			}
		}
		return n
	}
	for open, want := range map[int]int{0: 0, 9: 0, 10: 30, 55: 65, 99: 99, 100: 100, 1000: 100} {
		if got := dropped(open); got != want {
			t.Errorf("with %d others: %d of 100 dropped, want %d", open, got, want)
		}
	}
}

func TestStartups_places(t *testing.T) {
	t.Parallel()
	s := startups{rule: Startups{Start: 2, Rate: 100, Full: 2}}
	for place, want := range []bool{true, true, false} {
		if got := s.admit(); got != want {
			t.Errorf("place %d: admitted %v", place, got)
		}
	}
	s.leave()
	if !s.admit() {
		t.Error("a place that was given back is gone")
	}
}

func TestParseStartups(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "10", "10:30", "10:30:5", "0:30:100", "10:0:100", "10:101:100", "10:30:100:1", "a:b:c", "10:30:100x"} {
		if got, err := ParseStartups(bad); err == nil {
			t.Errorf("%q was taken as %+v", bad, got)
		}
	}
}
