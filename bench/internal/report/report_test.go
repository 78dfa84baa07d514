package report_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

func example() *report.Run {
	s := &report.Section{Row: 1, Title: "ls-remote over SSH"}
	s.Tables = []report.Table{{
		Title: "ls-remote",
		Lines: []report.Line{
			{Who: "gitsplit", Metric: "time", Unit: "ms", Stat: stats.Summarize([]float64{40, 50, 60})},
			{Who: "openssh", Metric: "time", Unit: "ms", Stat: stats.Summarize([]float64{100}), Failed: 2},
		},
		Ratios: []report.Ratio{{Of: "gitsplit", To: "openssh", Metric: "time", Stat: stats.Summarize([]float64{0.4, 0.5, 0.6})}},
	}}
	s.AtMost(true, "at most 0.6× OpenSSH", 0.5, 0.6, "×")
	s.AtMost(false, "at most 12 ms", 13.333, 12, " ms")
	s.AtMost(false, "a peer that is not there", math.NaN(), 1, "×")
	s.Note("gitolite: %s", "not root")
	return &report.Run{Commit: "0123456789abcdef", Started: "now", Took: "1m", Machine: map[string]string{"cpu": "2"}, Sections: []*report.Section{s}}
}

func TestRun_WriteMarkdown(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteMarkdown(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Full run of commit `0123456789abcdef`, now, in 1m.\n",
		"- cpu: 2\n",
		"### 1. ls-remote over SSH\n",
		"| gitsplit | time | 50 (45–55) ms | 3 | 0.5 (0.45–0.55)× openssh |\n",
		"| openssh | time | 100 ms | 1, 2 failed |  |\n",
		"- ✓ at most 0.6× OpenSSH: **0.5×**\n",
		"- ✗ at most 12 ms: **13.3 ms**\n",
		"- ✗ a peer that is not there: **–×**\n",
		"- gitolite: not root\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	short := example().Short()
	if strings.Count(short, "\n") != 3 || !strings.Contains(short, "| 1 | at most 0.6× OpenSSH | 0.5× | ✓ |") {
		t.Errorf("the short table is\n%s", short)
	}
}

func TestRun_WriteJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back report.Run
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(example(), &back); diff != "" {
		t.Errorf("read back (-want +got)\n%s", diff)
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	got, err := report.Splice("notes\n<!-- run -->\nold\n<!-- /run -->\nmore\n", "run", "new\n")
	if want := "notes\n<!-- run -->\nnew\n<!-- /run -->\nmore\n"; err != nil || got != want {
		t.Errorf("got %q, %v", got, err)
	}
	for _, text := range []string{"", "<!-- run -->\nold\n", "<!-- /run -->\n<!-- run -->\n"} {
		if _, err := report.Splice(text, "run", ""); err == nil {
			t.Errorf("%q has no whole pair of marks and gave no error", text)
		}
	}
}
