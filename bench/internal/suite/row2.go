package suite

import (
	"context"
	"strings"

	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// lsRemoteWeb is row 2.
func (s *Suite) lsRemoteWeb(ctx context.Context, sec *report.Section) error {
	n := s.rounds(25, 8)
	for _, v := range []struct {
		title   string
		remotes []peer.Remote
		judged  bool
	}{{"without credentials", s.open, false}, {"with credentials", s.auth, true}} {
		list, fetch, err := s.reading(ctx, append(append([]peer.Remote{}, v.remotes...), s.file))
		if err != nil {
			return err
		}
		for i, title := range []string{"`git ls-remote`", "`git fetch` with nothing new"} {
			sides := [][]side{list, fetch}[i]
			t := s.turns(ctx, sec, plan{title: title + ", " + v.title, rounds: n, warm: true, metrics: []metric{wall}, sides: sides, pairs: webPairs(sides)})
			for _, scheme := range []string{"HTTP", "HTTPS"} {
				target := title + " over " + scheme + " with credentials, at most 1.1× git-http-backend's time"
				if why := s.absent["git-http-backend"]; why != nil && v.judged {
					sec.Missing(target, why.Error())
				} else if v.judged {
					sec.AtMost(i == 0, target, ratio(t, "gitsplit "+scheme, "git-http-backend "+scheme, wall.name), 1.1, "×")
				}
			}
		}
	}
	return s.note(sec, "git-http-backend")
}

// webPairs compares ours with the others that speak the same scheme, and with files.
func webPairs(sides []side) [][2]string {
	var out [][2]string
	for _, of := range sides {
		scheme, ok := strings.CutPrefix(of.name, "gitsplit ")
		for _, to := range sides {
			if ok && to.name != of.name && (strings.HasSuffix(to.name, " "+scheme) || to.name == "file://") {
				out = append(out, [2]string{of.name, to.name})
			}
		}
	}
	return out
}
