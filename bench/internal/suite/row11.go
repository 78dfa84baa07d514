package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/gobench"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
	"gitsplit/bench/internal/sqlcount"
	"gitsplit/bench/internal/stats"
	"gitsplit/kit/internalapi"
)

// questions is row 11: the hook program, and what shell and gitaly ask of the API.
func (s *Suite) questions(ctx context.Context, sec *report.Section) error {
	if err := s.hooks(ctx, sec); err != nil {
		sec.Note("gitaly-hooks: %v", err)
		sec.Missing("gitaly-hooks from exec to exit at most 5 ms", err.Error())
	}
	home := s.home("counted")
	proxy, err := sqlcount.Listen(filepath.Join(s.site.Dir, "sql"))
	if err != nil {
		return err
	}
	defer proxy.Close() //nolint:errcheck // nothing is kept
	o, err := peer.Up(ctx, s.site, s.Bin, home)
	if err != nil {
		return err
	}
	if err := o.Close(); err != nil { // the first start has made the configuration, which names the database
		return err
	}
	through, err := proxy.Between(filepath.Join(home, "config", "rails-api.yml"))
	if err != nil {
		return err
	}
	if o, err = peer.Up(ctx, s.site, s.Bin, home, "RAILS_API_DATABASE_URL="+through); err != nil {
		return err
	}
	defer o.Close() //nolint:errcheck // a spare instance
	return s.calls(ctx, sec, o, proxy)
}

// hooks runs the benchmark of the hook program's own tests.
func (s *Suite) hooks(ctx context.Context, sec *report.Section) error {
	lines, err := gobench.Run(ctx, filepath.Join(s.Root, "services", "hooks"), "./cmd/gitaly-hooks", "BenchmarkHook", fmt.Sprintf("%dx", s.rounds(200, 50)), s.rounds(5, 2))
	if err != nil {
		return err
	}
	t := report.Table{Title: "gitaly-hooks from exec to exit"}
	for _, name := range []string{"BenchmarkHook/idle", "BenchmarkHook/asks"} {
		var all, busy []float64
		for _, l := range lines[name] {
			all, busy = append(all, l["ns/op"]/1e6), append(busy, l["cpu-ms/op"])
		}
		t.Lines = append(t.Lines, report.Line{Who: strings.TrimPrefix(name, "BenchmarkHook/"), Metric: "time", Unit: "ms", Stat: stats.Summarize(all)},
			report.Line{Who: strings.TrimPrefix(name, "BenchmarkHook/"), Metric: "CPU", Unit: "ms", Stat: stats.Summarize(busy)})
	}
	sec.Tables = append(sec.Tables, t)
	sec.AtMost(true, "gitaly-hooks from exec to exit at most 5 ms", median(t, "asks", "time"), 5, " ms")
	return nil
}

// calls asks the internal API what shell and gitaly ask, and counts round trips.
func (s *Suite) calls(ctx context.Context, sec *report.Section, o *peer.Ours, proxy *sqlcount.Proxy) error {
	r, err := s.repo(ctx, fixture.Tiny())
	if err != nil {
		return err
	}
	if err := o.Fill(ctx, o.Token, "app", false, r); err != nil {
		return err
	}
	api, err := internalClient(o)
	if err != nil {
		return err
	}
	defer api.Close()
	key, err := os.ReadFile(s.site.Key + ".pub")
	if err != nil {
		return err
	}
	blob := strings.Fields(string(key))[1]
	found, err := api.AuthorizedKeys(ctx, blob)
	if err != nil {
		return err
	}
	project := peer.Username + "/app.git"
	allowed := internalapi.AllowedRequest{Action: "git-receive-pack", Project: project, Changes: internalapi.AnyChanges, Protocol: "ssh", KeyID: internalapi.ID(found.ID)}
	gl, err := api.Allowed(ctx, allowed)
	if err != nil {
		return err
	}
	pull := allowed
	pull.Action = "git-upload-pack"
	changes := fmt.Sprintf("%s %s refs/heads/topic", strings.Repeat("0", 40), r.Tip)
	push := internalapi.AllowedRequest{Action: "git-receive-pack", Project: project, GLRepository: gl.GLRepository, Changes: changes, Protocol: "ssh", UserID: internalapi.ID(o.ID)}
	rounds, pid := s.rounds(200, 50), o.Processes()["rails-api"]
	t := report.Table{Title: "internal API, over workhorse's socket"}
	for _, call := range []struct {
		name string
		most float64 // round trips; 0 is any number
		do   func() error
	}{
		{"authorized_keys", 1, func() error { _, err := api.AuthorizedKeys(ctx, blob); return err }},
		{"allowed (pull)", 1, func() error { _, err := api.Allowed(ctx, pull); return err }},
		{"allowed (push, _any)", 1, func() error { _, err := api.Allowed(ctx, allowed); return err }},
		{"allowed (push, changes)", 1, func() error { _, err := api.Allowed(ctx, push); return err }},
		{"post_receive", 0, func() error {
			_, err := api.PostReceive(ctx, internalapi.PostReceiveRequest{GLRepository: gl.GLRepository, Identifier: fmt.Sprintf("user-%d", o.ID), Changes: changes + "\n"})
			return err
		}},
	} {
		times, trips, err := measured(rounds, call.do, func() int { return proxy.Trips(pid) })
		if err != nil {
			return fmt.Errorf("%s: %w", call.name, err)
		}
		t.Lines = append(t.Lines, report.Line{Who: call.name, Metric: "time", Unit: "ms", Stat: stats.Summarize(times)},
			report.Line{Who: call.name, Metric: "SQL", Unit: "round trips", Stat: stats.Summarize(trips)})
		if call.most > 0 {
			sec.AtMost(true, call.name+": at most one SQL round trip", stats.Summarize(trips).Median, call.most, "")
		}
	}
	sec.Tables = append(sec.Tables, t)
	return nil
}

// measured makes a call again and again and returns the times and what count grew by.
func measured(rounds int, do func() error, count func() int) (times, counts []float64, err error) {
	for i := range rounds + 1 {
		before, began := count(), time.Now()
		if err := do(); err != nil {
			return nil, nil, err
		}
		if i > 0 { // the first fills caches
			times, counts = append(times, ms(time.Since(began))), append(counts, float64(count()-before))
		}
	}
	return times, counts, nil
}

// internalClient speaks to workhorse's internal listener as shell and gitaly do.
func internalClient(o *peer.Ours) (*internalapi.Client, error) {
	secret, err := o.Secret("gitlab_shell_secret")
	if err != nil {
		return nil, err
	}
	socket, err := filepath.EvalSymlinks(filepath.Join(o.Home, "run", "workhorse-internal.sock"))
	if err != nil {
		return nil, err
	}
	return internalapi.New(internalapi.Config{URL: "http+unix://" + url.QueryEscape(socket), Secret: []byte(secret), UserAgent: "GitLab-Shell"})
}

// drain reads an answer to its end; anything but success is an error.
func drain(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	if res.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", res.Request.URL.Path, res.Status))
	}
	return errors.Join(err, res.Body.Close())
}
