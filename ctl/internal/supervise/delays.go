package supervise

import "time"

// Delays is the growing wait before a process that ended is started again.
type Delays struct {
	// Min is the first wait, Max the longest. Defaults 0.5 s and 30 s.
	Min, Max time.Duration
	// Healthy is how long a process must have run for the wait to begin at Min
	// again. Default 60 s.
	Healthy time.Duration
}

func (d Delays) withDefaults() Delays {
	if d.Min <= 0 {
		d.Min = 500 * time.Millisecond
	}
	if d.Max <= 0 {
		d.Max = 30 * time.Second
	}
	if d.Healthy <= 0 {
		d.Healthy = time.Minute
	}
	return d
}

// next returns the wait after a process that had waited last before its start and
// then ran for ran.
func (d Delays) next(last, ran time.Duration) time.Duration {
	if last <= 0 || ran >= d.Healthy {
		return d.Min
	}
	return min(2*last, d.Max)
}
