package app

import (
	"fmt"
	"runtime"
)

// Housekeeping is [housekeeping], ours.
type Housekeeping struct {
	// MaxConcurrency is how many repositories are kept at a time.
	MaxConcurrency int `toml:"max_concurrency"`
}

// defaultHousekeeping leaves most of the machine to those who wait for it.
func defaultHousekeeping() Housekeeping {
	return Housekeeping{MaxConcurrency: max(1, min(2, runtime.NumCPU()/2))}
}

func (c Config) housekeepingFaults() []error {
	var faults []error
	if n := c.Housekeeping.MaxConcurrency; n < 1 {
		faults = append(faults, fmt.Errorf("housekeeping.max_concurrency: %d is less than 1", n))
	}
	return faults
}
