// Package suite is what the benchmark measures: one function per row of the plan. It
// starts everybody who takes part, gives all the same repositories, and lets them take
// turns.
package suite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"gitsplit/bench/internal/fixture"
	"gitsplit/bench/internal/peer"
	"gitsplit/bench/internal/report"
)

// Options say how much to measure.
type Options struct {
	Root    string // of the checkout
	Bin     string // programs under test
	Self    string // the benchmark's own program, which git starts around its server side
	Cache   string // where repositories are kept between runs
	Quick   bool
	Rows    []int  // only these; all if empty
	Local   string // a repository on disk to measure too, or ""
	Profile int    // level 3 leaves profiles and traces in Out
	Out     string
	Log     io.Writer // progress
}

// Suite is a run. Make one with New, end it with Close.
type Suite struct {
	Options
	site   *peer.Site
	ours   *peer.Ours
	ssh    []peer.Remote // ours first
	open   []peer.Remote // over HTTP and HTTPS, without credentials
	auth   []peer.Remote // the same with them
	file   peer.Remote
	absent map[string]error // peers that cannot be made here
	repos  map[string]fixture.Repo
	placed map[string]bool
	people *crowd
	idle   map[string]int64 // memory before any load
	loaded time.Time        // when the first load began
	close  []func() error
	// profiled begins to take profiles of a row, once; what it returns ends that.
	profiled func() func() error
}

// New starts the instance under test and the peers. A peer that cannot be made here is
// missing from the results, which say why; without the instance there is no run.
func New(ctx context.Context, o Options) (s *Suite, err error) {
	s = &Suite{Options: o, absent: map[string]error{}, repos: map[string]fixture.Repo{}, placed: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	dir, err := os.MkdirTemp("", "gsbench") // short: sockets live below it
	if err != nil {
		return s, err
	}
	s.close = append(s.close, func() error { return os.RemoveAll(dir) })
	if s.site, err = peer.NewSite(ctx, dir); err != nil {
		return s, err
	}
	if s.ours, err = peer.Up(ctx, s.site, o.Bin, s.home("home")); err != nil {
		return s, err
	}
	s.close = append(s.close, s.ours.Close)
	if err := s.remotes(); err != nil {
		return s, err
	}
	s.peers(ctx)
	return s, nil
}

// home is a directory for an instance; PostgreSQL's user must get through to its data.
func (s *Suite) home(name string) string { return filepath.Join(s.site.Dir, name) }

func (s *Suite) remotes() error {
	shell, err := s.ours.SSH()
	if err != nil {
		return err
	}
	web, err := s.ours.Web()
	if err != nil {
		return err
	}
	s.ssh, s.open, s.auth = []peer.Remote{shell}, web[:2:2], web[2:]
	s.file = peer.Files(s.site, fixture.HiddenPrefix)
	return nil
}

func (s *Suite) peers(ctx context.Context) {
	for _, p := range []struct {
		name string
		make func(context.Context, *peer.Site) (peer.Remote, error)
	}{{"openssh", peer.OpenSSH}, {"gitolite", peer.Gitolite}} {
		r, err := p.make(ctx, s.site)
		if err != nil {
			s.missing(p.name, err)
			continue
		}
		s.close = append(s.close, r.Server.Close)
		s.ssh = append(s.ssh, r)
	}
	web, err := peer.Nginx(ctx, s.site)
	if err != nil {
		s.missing("git-http-backend", err)
		return
	}
	s.close = append(s.close, web[0].Server.Close)
	s.open, s.auth = append(s.open, web[:2]...), append(s.auth, web[2:]...)
}

func (s *Suite) missing(name string, err error) {
	s.absent[name] = err
	s.say("%s cannot be made here: %v", name, err)
}

func (s *Suite) say(format string, args ...any) {
	fmt.Fprintf(s.Log, "%s %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// Close stops everybody, last started first.
func (s *Suite) Close() error {
	var err error
	for i := len(s.close) - 1; i >= 0; i-- {
		err = errors.Join(err, s.close[i]())
	}
	s.close = nil
	return err
}

// row is one line of the plan.
type row struct {
	number int
	title  string
	run    func(context.Context, *report.Section) error
}

// rows are in the order in which they run: what wants a fresh instance comes first,
// and what wants a used one last.
func (s *Suite) rows() []row {
	return []row{
		{12, "Start", s.starts},
		{10, "Memory", s.resting},
		{1, "`ls-remote` and no-op fetch over SSH", s.lsRemoteSSH},
		{2, "`ls-remote` and no-op fetch over HTTP and HTTPS", s.lsRemoteWeb},
		{3, "Small push", s.smallPush},
		{8, "Many references", s.manyRefs},
		{9, "Login among many keys", s.manyKeys},
		{4, "Clone of a large repository", s.clone},
		{5, "Push of a large repository", s.bigPush},
		{6, "Many clones at once", s.storm},
		{7, "Mixed load", s.mixed},
		{10, "Memory after load", s.afterLoad},
		{11, "Hooks and the internal API", s.questions},
		{13, "The relay, per MiB", s.relay},
	}
}

// Run measures the rows and returns what it found, in the order of the plan. The error
// names rows that broke; their sections say so too.
func (s *Suite) Run(ctx context.Context) ([]*report.Section, error) {
	var sections []*report.Section
	var failed error
	for _, r := range s.rows() {
		if !s.wanted(r.number) {
			continue
		}
		s.say("row %d: %s", r.number, r.title)
		began := time.Now()
		sec := &report.Section{Row: r.number, Title: r.title}
		s.profiled = sync.OnceValue(func() func() error { return s.profiles(ctx, r.number) })
		err := r.run(ctx, sec)
		if err = errors.Join(err, s.profiled()()); err != nil {
			sec.Note("broken off: %v", err)
			failed = errors.Join(failed, fmt.Errorf("row %d: %w", r.number, err))
			s.say("row %d: %v", r.number, err)
		}
		sec.Took = time.Since(began).Round(time.Second / 10).String()
		sections = append(sections, sec)
		if ctx.Err() != nil {
			return sections, ctx.Err()
		}
	}
	return sorted(sections), failed
}

// local is the name of the repository that Options.Local is the path of.
const local = "local"

// repo makes a repository, or finds the one made before.
func (s *Suite) repo(ctx context.Context, spec fixture.Spec) (fixture.Repo, error) {
	if r, ok := s.repos[spec.Name]; ok {
		return r, nil
	}
	s.say("repository %s", spec.Name)
	var r fixture.Repo
	var err error
	if spec.Name == local {
		r, err = fixture.Import(ctx, s.Cache, s.Local)
	} else {
		r, err = fixture.Make(ctx, s.Cache, spec)
	}
	if err == nil {
		s.repos[spec.Name] = r
	}
	return r, err
}

// place puts the repository on the servers of all remotes, once.
func (s *Suite) place(ctx context.Context, name string, spec fixture.Spec, remotes ...peer.Remote) error {
	r, err := s.repo(ctx, spec)
	if err != nil {
		return err
	}
	for _, remote := range remotes {
		key := fmt.Sprintf("%p %s", remote.Server, name)
		if s.placed[key] {
			continue
		}
		if err := remote.Server.Place(ctx, name, r); err != nil {
			return fmt.Errorf("%s: %w", remote.Name, err)
		}
		s.placed[key] = true
	}
	return nil
}
