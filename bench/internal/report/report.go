// Package report holds what a run of the benchmark found and writes it as a table for
// people and as JSON for programs.
//
// A run has sections, one per row of the plan; a section has tables, verdicts (a target
// and what was measured) and notes (why somebody is missing). Absolute values are shown
// to give ratios a scale; no verdict about speed rests on them unless the target itself
// names a time.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"gitsplit/bench/internal/stats"
)

// Run is everything that one run found.
type Run struct {
	Commit   string            `json:"commit"`
	Dirty    bool              `json:"dirty"` // the checkout differed from the commit
	Started  string            `json:"started"`
	Took     string            `json:"took"`
	Quick    bool              `json:"quick"`
	Machine  map[string]string `json:"machine"`
	Sections []*Section        `json:"sections"`
}

// Section is one row of the plan.
type Section struct {
	Row      int       `json:"row"`
	Title    string    `json:"title"`
	Took     string    `json:"took"`
	Tables   []Table   `json:"tables"`
	Verdicts []Verdict `json:"verdicts"`
	Notes    []string  `json:"notes"`
}

// Table is one measurement: who took part and how they compare.
type Table struct {
	Title  string  `json:"title"`
	Lines  []Line  `json:"lines"`
	Ratios []Ratio `json:"ratios,omitempty"`
}

// Line is one number of one participant.
type Line struct {
	Who    string        `json:"who"`
	Metric string        `json:"metric"`
	Unit   string        `json:"unit"`
	Stat   stats.Summary `json:"stat"`
	Failed int           `json:"failed,omitempty"` // samples that could not be taken
}

// Ratio compares a metric of two participants, round by round.
type Ratio struct {
	Of     string        `json:"of"`
	To     string        `json:"to"`
	Metric string        `json:"metric"`
	Stat   stats.Summary `json:"stat"`
}

// Verdict is a target and what came of it.
type Verdict struct {
	Target string `json:"target"`
	Got    string `json:"got"`
	Met    bool   `json:"met"`
	// Key marks what the short table of the README shows.
	Key bool `json:"key,omitempty"`
}

// Note adds a remark.
func (s *Section) Note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// AtMost judges got against a limit. What could not be measured (NaN) is not met.
func (s *Section) AtMost(key bool, target string, got, limit float64, unit string) {
	s.Verdicts = append(s.Verdicts, Verdict{Target: target, Got: number(got) + unit, Met: got <= limit, Key: key})
}

// Holds records a target that is met or not.
func (s *Section) Holds(key bool, target string, met bool, got string) {
	s.Verdicts = append(s.Verdicts, Verdict{Target: target, Got: got, Met: met, Key: key})
}

// Missing records a target that could not be measured.
func (s *Section) Missing(target, why string) {
	s.Verdicts = append(s.Verdicts, Verdict{Target: target, Got: "not measured: " + why})
}

// Ratio finds a comparison in the table; ok is false if there is none.
func (t Table) Ratio(of, to, metric string) (r stats.Summary, ok bool) {
	i := slices.IndexFunc(t.Ratios, func(r Ratio) bool { return r.Of == of && r.To == to && r.Metric == metric })
	if i < 0 || t.Ratios[i].Stat.N == 0 {
		return stats.Summary{}, false
	}
	return t.Ratios[i].Stat, true
}

// Line finds a number in the table.
func (t Table) Line(who, metric string) (s stats.Summary, ok bool) {
	i := slices.IndexFunc(t.Lines, func(l Line) bool { return l.Who == who && l.Metric == metric })
	if i < 0 || t.Lines[i].Stat.N == 0 {
		return stats.Summary{}, false
	}
	return t.Lines[i].Stat, true
}

// WriteJSON writes the run for programs.
func (r *Run) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}
