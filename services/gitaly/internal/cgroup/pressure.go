package cgroup

import "time"

// CPUPressure returns a check whether the git processes were kept from the CPU for
// more than a share of the time since the check before.
func (m *Manager) CPUPressure(share float64, now func() time.Time) func() (bool, error) {
	var at time.Time
	var throttled time.Duration
	return func() (bool, error) {
		s, err := m.Stats()
		if err != nil {
			return false, err
		}
		last, before := at, throttled
		at, throttled = now(), s.Throttled
		return !last.IsZero() && float64(throttled-before) > share*float64(at.Sub(last)), nil
	}
}

// MemoryPressure returns a check whether the git processes use more than a share of
// their limit. Without a limit there is no pressure.
func (m *Manager) MemoryPressure(share float64) func() (bool, error) {
	return func() (bool, error) {
		s, err := m.Stats()
		return s.MemoryMax > 0 && float64(s.Memory) > share*float64(s.MemoryMax), err
	}
}
