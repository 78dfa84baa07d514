package gitaly_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/gitaly"
	"gitsplit/services/rails-api/internal/gitalytest"
	"gitsplit/services/rails-api/internal/project"
)

type noPool struct{}

func (noPool) Conn(string, string) (*grpc.ClientConn, error) {
	return nil, errors.New("no gitaly_address given")
}

func TestClient_Choose(t *testing.T) {
	t.Parallel()
	storages := []gitaly.Storage{{Name: "a", Weight: 1}, {Name: "off"}, {Name: "b", Weight: 3}}
	for n, want := range []string{"a", "b", "b", "b"} {
		c, err := gitaly.New(noPool{}, storages, func(total int) int {
			if total != 4 {
				t.Errorf("total weight %d", total)
			}
			return n
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Choose(nil); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	c, err := gitaly.New(noPool{}, []gitaly.Storage{{Name: "only"}}, nil)
	if err != nil || c.Choose(nil) != "only" {
		t.Errorf("no weights: %v", err)
	}
	for n, want := range []string{"a", "a", "added"} { // b is closed, and one is there that the configuration does not name
		c, err := gitaly.New(noPool{}, storages, func(int) int { return n })
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Choose(map[string]int{"a": 2, "b": 0, "added": 1}); got != want {
			t.Errorf("%d with weights: %s, want %s", n, got, want)
		}
	}
	if _, err := gitaly.New(noPool{}, nil, nil); err == nil {
		t.Error("a client without storages")
	}
}

// TestClient_Also: a storage that was added is asked for once, one that is unknown each time.
func TestClient_Also(t *testing.T) {
	t.Parallel()
	c, err := gitaly.New(noPool{}, []gitaly.Storage{{Name: "default"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	c.Also(func(name string) (gitaly.Storage, error) {
		if asked++; name != "second" || asked == 1 {
			return gitaly.Storage{}, errors.New("not there")
		}
		return gitaly.Storage{Name: name, Address: "tcp://second:8075"}, nil
	})
	for i, want := range []bool{false, true, true, true} {
		if s, err := c.Storage("second"); (err == nil && s.Address == "tcp://second:8075") != want {
			t.Errorf("%d: %+v, %v", i, s, err)
		}
	}
	if _, err := c.Storage("none"); errs.KindOf(err) != errs.Unavailable || asked != 3 {
		t.Errorf("unknown: %v after %d questions", err, asked)
	}
}

func TestClient_errors(t *testing.T) {
	t.Parallel()
	s := gitalytest.New(t)
	c := s.Client(t)
	p := project.Project{ID: 1, Storage: "default", DiskPath: project.HashedPath(1), DefaultBranch: "main"}
	ctx := t.Context()
	if err := c.Create(ctx, p); err != nil {
		t.Fatal(err)
	}
	if err := c.Create(ctx, p); errs.KindOf(err) != errs.Exists {
		t.Errorf("create twice: %v", err)
	}
	for code, want := range map[codes.Code]errs.Kind{
		codes.Unavailable: errs.Unavailable, codes.DeadlineExceeded: errs.Unavailable, codes.ResourceExhausted: errs.Unavailable,
		codes.NotFound: errs.NotFound, codes.Internal: errs.Internal, codes.InvalidArgument: errs.Internal, codes.Canceled: errs.Canceled,
		codes.Unauthenticated: errs.Internal, codes.PermissionDenied: errs.Internal,
	} {
		s.SetFail(status.Error(code, "secret detail"))
		_, err := c.HasBranches(ctx, p)
		if errs.KindOf(err) != want || strings.Contains(errs.Message(err), "secret") {
			t.Errorf("%v: %v %q, want %v", code, errs.KindOf(err), errs.Message(err), want)
		}
		if _, err := c.Branches(ctx, p, 10); errs.KindOf(err) != want {
			t.Errorf("%v of a stream: %v, want %v", code, err, want)
		}
	}
	s.SetFail(nil)
	if err := c.Remove(ctx, "default", p.DiskPath); err != nil {
		t.Error(err)
	}
	if err := c.Remove(ctx, "default", p.DiskPath); err != nil {
		t.Errorf("remove twice: %v", err)
	}
	p.Storage = "other"
	if _, err := c.Size(ctx, p); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("unknown storage: %v", err)
	}
	broken, err := gitaly.New(noPool{}, []gitaly.Storage{{Name: "default"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.Storage = "default"
	if err := broken.Create(ctx, p); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("no connection: %v", err)
	}
}

func TestClient_Branches(t *testing.T) {
	t.Parallel()
	s := gitalytest.New(t)
	c := s.Client(t)
	p := project.Project{ID: 1, Storage: "default", DiskPath: project.HashedPath(1)}
	if err := c.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for i := range 50 {
		names = append(names, fmt.Sprintf("refs/heads/b%d", i))
	}
	s.SetBranches(p.DiskPath, names...)
	for limit, want := range map[int]int{10: 10, 50: 50, 100: 50, 0: 0} {
		got, err := c.Branches(t.Context(), p, limit)
		if err != nil || len(got) != want || (want > 0 && got[0] != "b0") {
			t.Errorf("limit %d: %d names, %v", limit, len(got), err)
		}
	}
	if err := c.Alive(t.Context(), "default"); err != nil {
		t.Errorf("alive: %v", err)
	}
	s.Stop()
	if err := c.Alive(t.Context(), "default"); errs.KindOf(err) != errs.Unavailable {
		t.Errorf("stopped: %v", err)
	}
}
