package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"gitsplit/kit/fault"
	"gitsplit/proto/go/gitalypb"
)

// TestUpkeep tidies, renames and removes projects while they are pushed to and cloned.
// Tidying disturbs nobody. A renamed or removed project may refuse, but what clients
// are told is true. FAULTS_PASSES is how often each is tidied, besides once.
func TestUpkeep(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	load, err := s.load(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for range 1 + setting("FAULTS_PASSES", 0) {
		for _, l := range load.lanes {
			if err := l.tidy(t.Context()); err != nil {
				t.Errorf("tidy: %v", err)
			}
		}
		if err := load.more(t.Context(), len(load.lanes)); err != nil {
			t.Error(err)
		}
	}
	lanes, failures := load.end()
	for _, text := range failures {
		t.Errorf("while repositories are tidied: %s", text)
	}
	for _, transport := range []string{"ssh", "http"} {
		l, err := s.renamed(t.Context(), transport)
		if err != nil {
			t.Errorf("rename, %s: %v", transport, err)
			continue
		}
		lanes = append(lanes, l)
		for _, point := range []string{fault.AfterPack, fault.AfterAllowed} {
			if err := s.removed(t.Context(), transport, point); err != nil {
				t.Errorf("remove, %s, %s: %v", transport, point, err)
			}
		}
	}
	s.sound(t, lanes)
}

// tidy does with a repository all that maintenance may ever do.
func (l *lane) tidy(ctx context.Context) error {
	conn, err := l.site.conn()
	if err != nil {
		return err
	}
	repository, err := l.proto()
	if err != nil {
		return err
	}
	_, err = gitalypb.NewRepositoryServiceClient(conn).OptimizeRepository(ctx, &gitalypb.OptimizeRepositoryRequest{
		Repository: repository, Strategy: gitalypb.OptimizeRepositoryRequest_STRATEGY_EAGER,
	})
	return err
}

// renamed gives a project another path in the middle of a push and of a clone, and
// pushes to the new one.
func (s *site) renamed(ctx context.Context, transport string) (*lane, error) {
	l, err := s.newLane(ctx, transport)
	if err != nil {
		return nil, err
	}
	path := l.name + "-renamed"
	_, lies, err := l.during(ctx, fault.AfterPreReceive, func() error {
		return s.Must(ctx, s.user.Token, "PUT", fmt.Sprintf("projects/%d", l.id), map[string]any{"path": path}, nil)
	})
	if err != nil || len(lies) > 0 {
		return nil, errors.Join(err, errors.New(strings.Join(lies, "; ")))
	}
	l.remote = strings.Replace(l.remote, l.name+".git", path+".git", 1)
	return l, l.push(ctx)
}

// removed removes a project in the middle of a push and of a clone: the push is refused,
// nobody gets at the project any more, and nothing of it stays. Who pushes once more makes
// a new one.
func (s *site) removed(ctx context.Context, transport, point string) error {
	l, err := s.newLane(ctx, transport)
	if err != nil {
		return err
	}
	push, lies, err := l.during(ctx, point, func() error {
		return s.Must(ctx, s.user.Token, "DELETE", fmt.Sprintf("projects/%d", l.id), nil, nil)
	})
	if err == nil && push.code == 0 {
		err = fmt.Errorf("a push was accepted that had not been when its project was removed:\n%s", push.out.String())
	}
	for _, lie := range lies {
		if !strings.HasPrefix(lie, "references of ") { // of a repository that is gone already
			err = errors.Join(err, errors.New(lie))
		}
	}
	if err != nil {
		return err
	}
	if _, err := l.git(ctx, "", "ls-remote", l.remote); err == nil {
		return errors.New("a removed project can be read")
	}
	if err := s.madeAnew(ctx, l); err != nil {
		return err
	}
	return poll(ctx, s.patience, func() error {
		if _, err := os.Stat(l.repo); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the repository of a removed project is there: %w", err)
		}
		rows, err := s.Query(ctx, fmt.Sprintf("SELECT id FROM push_events WHERE project_id = %d", l.id))
		if err == nil && len(rows) > 0 {
			err = fmt.Errorf("%d events of a removed project", len(rows))
		}
		return err
	})
}

// madeAnew pushes to the path of a project that was just removed.
func (s *site) madeAnew(ctx context.Context, old *lane) error {
	if _, err := old.git(ctx, old.work, "push", "-q", old.remote, "main", "side"); err != nil {
		return fmt.Errorf("push to create: %w", err)
	}
	var made struct{ ID int64 }
	if err := s.Must(ctx, s.user.Token, "GET", "projects/"+s.user.Username+"%2F"+old.name, nil, &made); err != nil {
		return err
	}
	if made.ID == old.id {
		return errors.New("the removed project is back")
	}
	got, err := old.git(ctx, "", "ls-remote", old.remote, "refs/heads/main")
	want, wantErr := old.git(ctx, old.work, "rev-parse", "main")
	if err == nil && !strings.HasPrefix(got, want) {
		err = fmt.Errorf("main of the new project is %q, want %s", got, want)
	}
	return errors.Join(err, wantErr)
}

// during does something while a push of the lane is at a point and a clone in its
// midst, and returns what they were told that is not true.
func (l *lane) during(ctx context.Context, point string, do func() error) (push *job, lies []string, err error) {
	if err := l.commit(ctx, 1000); err != nil {
		return nil, nil, err
	}
	jobs := []*job{{lane: l, point: point}, {lane: l, point: fault.MidClone, clone: true}}
	for _, j := range jobs {
		if err = j.start(ctx); err != nil {
			return nil, nil, err
		}
		defer j.release()
	}
	for _, j := range jobs {
		if err := j.held(ctx); err != nil {
			return nil, nil, err
		}
	}
	err = do()
	for _, j := range jobs {
		j.release()
	}
	l.site.await(jobs)
	defer os.RemoveAll(jobs[1].target) //nolint:errcheck // best effort
	return jobs[0], append(jobs[0].truth(ctx), jobs[1].cloned(ctx)...), err
}
