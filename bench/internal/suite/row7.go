package suite

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gitwire"
	"gitsplit/bench/internal/load"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/stats"
)

// mixed is row 7: GitLab's reference load for 1,000 users (20 API requests, 2 pulls, 1
// push per second) and multiples of it.
func (s *Suite) mixed(ctx context.Context, sec *report.Section) error {
	crowd, err := s.crowd(ctx)
	if err != nil {
		return err
	}
	s.loadBegins()
	length := time.Duration(s.rounds(60, 10)) * time.Second
	bad := 0
	for _, times := range []int{1, 10} {
		bad = s.mix(ctx, sec, crowd, times, length)
	}
	if ctx.Err() != nil { // nothing was asked: no verdict
		return ctx.Err()
	}
	if bad == 0 {
		sec.Holds(true, "the mix for 10,000 users runs without an error", true, "no error")
		return nil
	}
	at := 1
	for _, times := range []int{2, 4, 6, 8} { // where it stops
		if s.mix(ctx, sec, crowd, times, length/3) > 0 || ctx.Err() != nil {
			break
		}
		at = times
	}
	sec.Holds(true, "the mix for 10,000 users runs without an error", false, fmt.Sprintf("%d errors; up to %d times the mix for 1,000 users there is none", bad, at))
	return nil
}

// mix runs a multiple of the load and returns the number of errors.
func (s *Suite) mix(ctx context.Context, sec *report.Section, c *crowd, times int, length time.Duration) (bad int) {
	cpu, began := s.ours.CPU(), time.Now()
	outcomes := load.Run(ctx, []load.Kind{
		{Name: "API", Rate: float64(20 * times), Do: c.api},
		{Name: "pull", Rate: float64(2 * times), Do: c.pull},
		{Name: "push", Rate: float64(times), Do: c.push},
	}, length)
	used := float64(s.ours.CPU()-cpu) / float64(time.Since(began))
	t := report.Table{Title: fmt.Sprintf("mix for %d users, %v", 1000*times, length)}
	for _, o := range outcomes {
		p50, p90, p99 := o.Percentiles()
		for _, l := range []struct {
			name string
			x    float64
		}{{"p50", p50}, {"p90", p90}, {"p99", p99}} {
			t.Lines = append(t.Lines, report.Line{Who: o.Name, Metric: l.name, Unit: "ms", Stat: stats.Summary{N: len(o.Times), Median: l.x, Q1: l.x, Q3: l.x}, Failed: o.Errors})
		}
		if bad += o.Errors; o.First != nil {
			sec.Note("%s, %s: %d errors, the first: %v", t.Title, o.Name, o.Errors, o.First)
		}
	}
	sec.Tables = append(sec.Tables, t)
	sec.Note("%s: %d errors; the instance used %.2f processors", t.Title, bad, used)
	return bad
}

// waiting is among how many clients those over SSH are spread over addresses: more than
// wait at a time.
const waiting = 1000

// crowd is users with a project each.
type crowd struct {
	ours   *peer.Ours
	client *http.Client
	shell  gitwire.Shell
	users  []*member
	pushes []fixture.Push
}

type member struct {
	name, token string
	project     int64
	mu          sync.Mutex // pushes to one project follow each other
	next        int
}

// crowd makes the users and their projects, once.
func (s *Suite) crowd(ctx context.Context) (*crowd, error) {
	if s.people != nil {
		return s.people, nil
	}
	r, err := s.repo(ctx, fixture.Small())
	if err != nil {
		return nil, err
	}
	client, err := gitwire.Kept(256, "")
	if err != nil {
		return nil, err
	}
	c := &crowd{ours: s.ours, client: client, shell: *s.ssh[0].Shell}
	if c.pushes, err = fixture.Chain(ctx, r, 2000); err != nil {
		return nil, err
	}
	for i := range s.rounds(25, 10) {
		m := &member{name: fmt.Sprintf("user%d", i)}
		if _, m.token, err = s.ours.User(ctx, m.name, ""); err != nil {
			return nil, err
		}
		if err := s.ours.Fill(ctx, m.token, m.name, true, r); err != nil {
			return nil, err
		}
		m.project = s.ours.Project(m.name)
		c.users = append(c.users, m)
	}
	s.people = c
	return c, nil
}

// api asks what clients ask often.
func (c *crowd) api(ctx context.Context, n int) error {
	m := c.users[n%len(c.users)]
	project := fmt.Sprintf("projects/%d", m.project)
	paths := []string{
		project, "user", project + "/repository/branches", project + "/repository/commits?per_page=20",
		project + "/repository/tree", project + "/repository/files/d00%2Ff000.txt?ref=main", "projects?membership=true", project + "/members",
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ours.HTTP+"/api/v4/"+paths[n/len(c.users)%len(paths)], nil)
	if err != nil {
		return err
	}
	req.Header.Set("PRIVATE-TOKEN", m.token)
	return drain(c.client.Do(req)) //nolint:bodyclose // drain does
}

// pull fetches what is new since the repository was made, over HTTP and SSH by turns.
func (c *crowd) pull(ctx context.Context, n int) error {
	m, want := c.users[n%len(c.users)], gitwire.Want{Ref: main, Have: c.pushes[0].Old}
	if n%2 == 0 {
		_, err := c.web(m).Fetch(ctx, want)
		return err
	}
	shell := from(c.shell, n/2%waiting)
	r := peer.Remote{Shell: &shell, Path: func(string) string { return m.name + "/" + m.name + ".git" }}
	return fetchSSH(ctx, r, m.name, want)
}

// push pushes the next commit of the chain.
func (c *crowd) push(ctx context.Context, n int) error {
	m := c.users[n%len(c.users)]
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.next >= len(c.pushes) {
		return fmt.Errorf("%s has no more to push", m.name)
	}
	p := c.pushes[m.next]
	if err := c.web(m).Send(ctx, gitwire.Move(main, p.Old, p.New, p.Pack)); err != nil {
		return err
	}
	m.next++
	return nil
}

func (c *crowd) web(m *member) gitwire.Web {
	return gitwire.Web{Client: c.client, URL: fmt.Sprintf("%s/%[2]s/%[2]s.git", c.ours.HTTP, m.name), User: m.name, Password: m.token}
}
