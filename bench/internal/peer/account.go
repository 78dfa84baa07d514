package peer

import (
	"time"

	"gitsplit/bench/internal/meter"
)

// account counts what a server uses: in a control group where that can be had, else by
// its process trees, which misses children that nobody waits for.
type account struct{ group *meter.Group }

func newAccount(name string) account {
	g, err := meter.NewGroup(name)
	if err != nil {
		return account{}
	}
	return account{group: g}
}

// Grouped says whether processor time can be counted exactly here.
func Grouped() error {
	g, err := meter.NewGroup("probe")
	if err != nil {
		return err
	}
	return g.Close()
}

func (a account) used(roots []int) time.Duration {
	if a.group != nil {
		if d, err := a.group.CPU(); err == nil {
			return d
		}
	}
	return meter.CPU(roots...)
}
