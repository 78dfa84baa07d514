package supervise

import (
	"testing"
	"time"
)

func TestDelays_next(t *testing.T) {
	t.Parallel()
	d := Delays{}.withDefaults()
	tests := []struct {
		name            string
		last, ran, want time.Duration
	}{
		{"first end", 0, time.Second, 500 * time.Millisecond},
		{"again soon", 500 * time.Millisecond, time.Second, time.Second},
		{"and again", 16 * time.Second, time.Second, 30 * time.Second},
		{"at the limit", 30 * time.Second, 59 * time.Second, 30 * time.Second},
		{"after a healthy minute", 30 * time.Second, time.Minute, 500 * time.Millisecond},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := d.next(tc.last, tc.ran); got != tc.want {
				t.Errorf("next(%v, %v) = %v, want %v", tc.last, tc.ran, got, tc.want)
			}
		})
	}
}
