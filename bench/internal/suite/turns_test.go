package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/bench/internal/report"
)

// TestSuite_turns lets two sides take turns: who begins changes, the first round does
// not count, ratios are of the same round, and a failure spoils one sample only.
func TestSuite_turns(t *testing.T) {
	t.Parallel()
	var order []string
	one := func(name string, of func(round int) (float64, error)) side {
		return side{name, func(_ context.Context, round int) (map[string]float64, error) {
			order = append(order, fmt.Sprint(name, round))
			x, err := of(round)
			return map[string]float64{wall.name: x}, err
		}}
	}
	sides := []side{
		one("a", func(round int) (float64, error) { return float64(10 * (round + 1)), nil }),
		one("b", func(round int) (float64, error) {
			if round == 1 {
				return 0, errors.New("broken")
			}
			return float64(20 * (round + 1)), nil
		}),
	}
	s, sec := &Suite{Options: Options{Log: io.Discard}}, &report.Section{}
	got := s.turns(t.Context(), sec, plan{title: "t", rounds: 3, warm: true, metrics: []metric{wall}, sides: sides, pairs: against("a", sides...)})
	if want := "a-1 b-1 a0 b0 b1 a1 a2 b2"; strings.Join(order, " ") != want {
		t.Errorf("the order is %v, want %s", order, want)
	}
	if r := ratio(got, "a", "b", wall.name); r != 0.5 {
		t.Errorf("the ratio is %v", r)
	}
	if l, _ := got.Line("b", wall.name); l.N != 2 || l.Median != 40 || got.Lines[1].Failed != 1 {
		t.Errorf("b has %+v", got.Lines[1])
	}
	if diff := cmp.Diff([]string{"t, b: broken"}, sec.Notes); diff != "" {
		t.Errorf("notes (-want +got)\n%s", diff)
	}
}
