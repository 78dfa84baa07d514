package faults_test

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
)

// table sums up what the trials of a run have found.
type table struct {
	mu    sync.Mutex
	rows  map[string]*row // by breakage
	cells map[string]int  // trials of a point, transport and breakage
}

type row struct{ trials, lost, duplicated, broken, untrue, leftovers, stuck, other int }

func newTable() *table { return &table{rows: map[string]*row{}, cells: map[string]int{}} }

func (t *table) add(breakage, cell string, v verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.rows[breakage]
	if r == nil {
		r = &row{}
		t.rows[breakage] = r
	}
	t.cells[cell+" × "+breakage]++
	r.count(row{1, len(v.lost), len(v.duplicated), len(v.broken), len(v.lies), len(v.leftovers), len(v.stuck), len(v.other)})
}

func (r *row) count(o row) {
	r.trials += o.trials
	r.lost += o.lost
	r.duplicated += o.duplicated
	r.broken += o.broken
	r.untrue += o.untrue
	r.leftovers += o.leftovers
	r.stuck += o.stuck
	r.other += o.other
}

// total is the sum of all rows.
func (t *table) total() row {
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum row
	for _, r := range t.rows {
		sum.count(*r)
	}
	return sum
}

// print writes the table for people.
func (t *table) print(w io.Writer, title string) {
	sum := t.total()
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(w, "\n%s: %d trials in %d cells\n", title, sum.trials, len(t.cells))
	fmt.Fprintf(w, "%-46s %6s %6s %6s %6s %6s %6s %6s %6s\n", "fault", "trials", "lost", "twice", "broken", "untrue", "left", "stuck", "other")
	line := func(name string, r row) {
		fmt.Fprintf(w, "%-46s %6d %6d %6d %6d %6d %6d %6d %6d\n", name, r.trials, r.lost, r.duplicated, r.broken, r.untrue, r.leftovers, r.stuck, r.other)
	}
	for _, name := range slices.Sorted(maps.Keys(t.rows)) {
		line(name, *t.rows[name])
	}
	line("all", sum)
}
