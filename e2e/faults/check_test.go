package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// verdict is what was found after one trial.
type verdict struct {
	lost, duplicated []string // events
	broken           []string // repositories
	lies             []string // what the client was told, and what was moved besides
	leftovers        []string
	stuck            []string // the next push does not work
	other            []string // the trial could not be made as planned
}

func (v *verdict) all() []string {
	var all []string
	for kind, list := range map[string][]string{
		"lost event": v.lost, "duplicated event": v.duplicated, "broken repository": v.broken, "untrue": v.lies,
		"leftover": v.leftovers, "next push": v.stuck, "trial": v.other,
	} {
		for _, text := range list {
			all = append(all, kind+": "+text)
		}
	}
	return all
}

// change is one reference of one recorded event.
type change struct {
	event, protocol, ref, before, after string
}

// events returns what was recorded since, by project.
func (s *site) events(ctx context.Context, lanes []*lane) (map[int64][]change, error) {
	var where []string
	for _, l := range lanes {
		where = append(where, fmt.Sprintf("(e.project_id = %d AND e.id > %d)", l.id, l.lastEvent))
	}
	rows, err := s.Query(ctx, `SELECT e.project_id, e.id, e.protocol, r.ref, r.before_oid, r.after_oid
		FROM push_events e JOIN push_event_refs r ON r.push_event_id = e.id WHERE `+strings.Join(where, " OR ")+" ORDER BY e.id, r.position")
	if err != nil {
		return nil, err
	}
	found := map[int64][]change{}
	for _, row := range rows {
		id, err := strconv.ParseInt(row[0], 10, 64)
		if err != nil {
			return nil, err
		}
		found[id] = append(found[id], change{row[1], row[2], row[3], strings.Trim(row[4], "0"), strings.Trim(row[5], "0")})
	}
	return found, nil
}

// replay applies events to the references as the last trial left them, and says what
// does not fit. Object ids are compared without zeros at their ends.
func (l *lane) replay(changes []change) (state refs, duplicated []string) {
	state = maps.Clone(l.recorded)
	for _, c := range changes {
		if state[c.ref] != c.before {
			duplicated = append(duplicated, fmt.Sprintf("event %s (%s) says that %s went from %q to %q, it was %q", c.event, c.protocol, c.ref, c.before, c.after, state[c.ref]))
		}
		if state[c.ref] = c.after; c.after == "" {
			delete(state, c.ref)
		}
	}
	return state, duplicated
}

// compare says for each reference that the events do not tell of where it is.
func compare(now, recorded refs) (lost []string) {
	for ref, oid := range now {
		if recorded[ref] != strings.Trim(oid, "0") {
			lost = append(lost, fmt.Sprintf("%s is %s, the events say %q", ref, oid, recorded[ref]))
		}
	}
	for ref := range recorded {
		if now[ref] == "" {
			lost = append(lost, fmt.Sprintf("%s is gone, the events say %q", ref, recorded[ref]))
		}
	}
	return lost
}

// settle waits until the events tell of every reference of the lanes as it is, and
// returns what is wrong in the end, by lane.
func (s *site) settle(ctx context.Context, lanes []*lane) (map[*lane]verdict, error) {
	found := map[*lane]verdict{}
	var last map[int64][]change
	err := poll(ctx, s.patience, func() error {
		var err error
		if last, err = s.events(ctx, lanes); err != nil {
			return err
		}
		clear(found)
		for _, l := range lanes {
			now, err := tips(ctx, l.repo)
			if err != nil {
				return err
			}
			state, duplicated := l.replay(last[l.id])
			if lost := compare(now, state); len(lost)+len(duplicated) > 0 {
				found[l] = verdict{lost: lost, duplicated: duplicated}
			}
		}
		if len(found) > 0 {
			return fmt.Errorf("%d projects differ from their events", len(found))
		}
		return nil
	})
	if len(found) == 0 && err != nil {
		return nil, err
	}
	for _, l := range lanes { // what is wrong now is not to be told again
		changes := last[l.id]
		if len(changes) > 0 {
			l.lastEvent, _ = strconv.ParseInt(changes[len(changes)-1].event, 10, 64)
		}
		if l.recorded, _ = l.replay(changes); len(found[l].lost) > 0 {
			l.recorded = refs{}
			now, err := tips(ctx, l.repo)
			if err != nil {
				return nil, err
			}
			for ref, oid := range now {
				l.recorded[ref] = strings.Trim(oid, "0")
			}
		}
	}
	return found, nil
}

// settleTime is the documented time after which nothing of a broken push is left and
// every event is recorded, once all services are back.
const settleTime = 60 * time.Second

// fsck lets git look at everything in the repository, again if housekeeping has replaced
// packs meanwhile: git complains of those that it saw first and cannot open any more.
func (l *lane) fsck(ctx context.Context) []string {
	for {
		before := l.packs()
		cmd := exec.CommandContext(ctx, "git", "--git-dir", l.repo, "fsck", "--full", "--strict", "--no-dangling")
		cmd.Dir, cmd.Env = l.repo, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err == nil {
			return nil
		}
		if after := l.packs(); slices.Equal(before, after) {
			return []string{fmt.Sprintf("git fsck of %s: %v\n%s\npacks: %q", l.repo, err, out, after)}
		}
	}
}

// packs are the files of the repository's packs and of what is known of them.
func (l *lane) packs() []string {
	found, _ := filepath.Glob(filepath.Join(l.repo, "objects/pack/*"))
	return found
}

// uncounted takes out of a leftover the counters of pushes whose end Redis was not
// told of. They heal by their expiry, ten minutes after the push began; forgive adds
// those that are there now.
func (s *site) uncounted(item string, forgive bool) string {
	counters, ok := strings.CutPrefix(item, "counter ")
	if !ok {
		return item
	}
	left := ""
	for counter := range strings.FieldsSeq(counters) {
		if forgive {
			s.forgiven[counter] = true
		}
		if !s.forgiven[counter] {
			left = "counter " + counter
		}
	}
	return left
}

// clean waits until nothing is left of the pushes of a site that rests. forgive is for
// trials in which Redis did not answer.
func (s *site) clean(ctx context.Context, forgive bool) []string {
	var left []string
	err := poll(ctx, s.patience, func() error {
		all, err := s.Leftovers(ctx)
		if err != nil {
			return err
		}
		left = left[:0]
		for _, item := range slices.Concat(all, s.runtimeLeftovers(), s.journalLeftovers()) {
			if item = s.uncounted(item, forgive); item != "" && !strings.Contains(item, "cat-file") { // waits ten seconds for the next question
				left = append(left, item)
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("%d leftovers", len(left))
		}
		return nil
	})
	if err != nil && len(left) == 0 {
		left = []string{err.Error()}
	}
	return left
}

// journalLeftovers are the records of gitaly's journal that are not done with.
func (s *site) journalLeftovers() (left []string) {
	raw, err := os.ReadFile(filepath.Join(s.storage(), "+gitaly/journal/log"))
	if err != nil {
		return []string{err.Error()}
	}
	open := map[string]string{}
	for text := range strings.Lines(string(raw)) {
		_, record, _ := strings.Cut(text, " ")
		var line struct {
			Begin *struct {
				ID           string
				GLRepository string `json:"gl_repository"`
			}
			End string
		}
		if err := json.Unmarshal([]byte(record), &line); err != nil {
			return []string{fmt.Sprintf("journal: %q: %v", text, err)}
		}
		if line.Begin != nil {
			open[line.Begin.ID] = line.Begin.GLRepository
		}
		delete(open, line.End)
	}
	for id, project := range open {
		left = append(left, "journal record "+id+" of "+project)
	}
	return left
}

// runtimeLeftovers looks for sockets and hook directories of pushes and clones.
func (s *site) runtimeLeftovers() (left []string) {
	for _, pattern := range []string{"gitaly-*/hooks-*.d", "gitaly-*/chan.d/*"} {
		found, _ := filepath.Glob(filepath.Join(s.Home, "run", pattern))
		left = append(left, found...)
	}
	if dirs, _ := filepath.Glob(filepath.Join(s.Home, "run", "gitaly-*[0-9]")); len(dirs) > 1 {
		left = append(left, fmt.Sprintf("runtime directories %q", dirs))
	}
	return left
}
