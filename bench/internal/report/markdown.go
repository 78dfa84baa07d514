package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"gitsplit/bench/internal/stats"
)

// number writes x with three significant digits, and without an exponent.
func number(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "–"
	case a >= 100 || x == math.Trunc(x):
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	case a >= 1:
		return fmt.Sprintf("%.2f", x)
	default:
		return fmt.Sprintf("%.3g", x)
	}
}

func spread(s stats.Summary) string {
	if s.N < 2 {
		return number(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", number(s.Median), number(s.Q1), number(s.Q3))
}

// WriteMarkdown writes the run for people.
func (r *Run) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	dirty, kind := "", "Full run"
	if r.Dirty {
		dirty = ", with changes"
	}
	if r.Quick {
		kind = "Quick run (small repositories, few rounds)"
	}
	fmt.Fprintf(&b, "%s of commit `%s`%s, %s, in %s.\n\n", kind, r.Commit, dirty, r.Started, r.Took)
	for _, k := range slices.Sorted(maps.Keys(r.Machine)) {
		fmt.Fprintf(&b, "- %s: %s\n", k, r.Machine[k])
	}
	b.WriteString("\nA cell is the median with the quartiles. Ratios are taken round by round. ✓ and ✗ say whether a target is met.\n")
	for _, s := range r.Sections {
		s.markdown(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Section) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n### %d. %s\n", s.Row, s.Title)
	for _, t := range s.Tables {
		t.markdown(b)
	}
	if len(s.Verdicts)+len(s.Notes) > 0 {
		b.WriteString("\n")
	}
	for _, v := range s.Verdicts {
		fmt.Fprintf(b, "- %s %s: **%s**\n", mark(v.Met), v.Target, v.Got)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
}

func mark(met bool) string {
	if met {
		return "✓"
	}
	return "✗"
}

func (t Table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n\n| | | median (quartiles) | n | ratio |\n| --- | --- | --- | --- | --- |\n", t.Title)
	for _, l := range t.Lines {
		var ratios []string
		for _, r := range t.Ratios {
			if r.Of == l.Who && r.Metric == l.Metric && r.Stat.N > 0 {
				ratios = append(ratios, fmt.Sprintf("%s× %s", spread(r.Stat), r.To))
			}
		}
		failed := ""
		if l.Failed > 0 {
			failed = fmt.Sprintf(", %d failed", l.Failed)
		}
		fmt.Fprintf(b, "| %s | %s | %s %s | %d%s | %s |\n", l.Who, l.Metric, spread(l.Stat), l.Unit, l.Stat.N, failed, strings.Join(ratios, "; "))
	}
}

// Short is the table of the README: the targets that are marked as key.
func (r *Run) Short() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | target | commit `%.12s` | |\n| --- | --- | --- | --- |\n", r.Commit)
	for _, s := range r.Sections {
		for _, v := range s.Verdicts {
			if v.Key {
				fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", s.Row, v.Target, v.Got, mark(v.Met))
			}
		}
	}
	return b.String()
}
