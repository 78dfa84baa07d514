package lfs_test

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/lfs"
	"gitsplit/services/rails-api/internal/pgtest"
	"gitsplit/services/rails-api/internal/project"
	"gitsplit/services/rails-api/internal/railstest"
	"gitsplit/services/rails-api/internal/visibility"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

const size = 7

func oid(n int) string { return strings.Repeat(strconv.Itoa(n), 64) }

type bench struct {
	*railstest.Bench
	store *lfs.Store
	p, q  project.Project
}

func setup(t *testing.T) bench {
	t.Helper()
	b := railstest.New(t)
	ns := b.User("ada").NamespaceID
	return bench{b, lfs.New(b.DB), b.Project(ns, "p", visibility.Private), b.Project(ns, "q", visibility.Private)}
}

// stored makes an object of p.
func (b bench) stored(id string) lfs.Object {
	b.TB.Helper()
	o, err := b.store.Reserve(b.TB.Context(), id, size)
	b.Must(err)
	b.Must(b.store.Publish(b.TB.Context(), b.p.ID, o))
	return o
}

// TestStore: an object is seen by the projects that are linked to it, once its file is there.
func TestStore(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t), t.Context()
	o, err := b.store.Reserve(ctx, oid(1), size)
	b.Must(err)
	if _, err := b.store.Get(ctx, b.p.ID, oid(1)); errs.KindOf(err) != errs.NotFound {
		t.Errorf("reserved: %v", err)
	}
	if linked, err := b.store.Link(ctx, b.p.ID, oid(1), size); linked || err != nil {
		t.Errorf("link what is only reserved: %v, %v", linked, err)
	}
	b.Must(b.store.Publish(ctx, b.p.ID, o))
	if got, err := b.store.Get(ctx, b.p.ID, oid(1)); err != nil || got != o || got.Key() != "lfs/11/11/"+oid(1)[4:]+"-"+strconv.FormatInt(o.ID, 10) {
		t.Errorf("published %+v, %v, key %s", got, err, got.Key())
	}
	if _, err := b.store.Get(ctx, b.q.ID, oid(1)); errs.KindOf(err) != errs.NotFound {
		t.Errorf("another project: %v", err)
	}
	if linked, err := b.store.Link(ctx, b.q.ID, oid(1), size+1); linked || err != nil {
		t.Errorf("another size: %v, %v", linked, err)
	}
	for range 2 {
		if linked, err := b.store.Link(ctx, b.q.ID, oid(1), size); !linked || err != nil {
			t.Errorf("link: %v, %v", linked, err)
		}
	}
	if found, err := b.store.Linked(ctx, b.q.ID, []string{oid(1), oid(2)}); err != nil || len(found) != 1 || found[oid(1)] != o {
		t.Errorf("linked %v, %v", found, err)
	}
}

// TestStore_Publish_twice: of uploads of the same content at a time one is kept.
func TestStore_Publish_twice(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t), t.Context()
	const uploads = 8
	var all sync.WaitGroup
	for range uploads {
		all.Go(func() {
			o, err := b.store.Reserve(ctx, oid(1), size)
			if err == nil {
				err = b.store.Publish(ctx, b.p.ID, o)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	condemned, err := b.store.Condemned(ctx, 100)
	if err != nil || len(condemned) != uploads-1 {
		t.Errorf("%d files to remove, %v", len(condemned), err)
	}
	kept, err := b.store.Get(ctx, b.p.ID, oid(1))
	if err != nil || slices.Contains(condemned, kept) {
		t.Errorf("kept %+v, %v", kept, err)
	}
}

// TestStore_Condemn: an object is removed when no project had it for a time, and may be uploaded again.
func TestStore_Condemn(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t), t.Context()
	kept, gone, saved := b.stored(oid(1)), b.stored(oid(2)), b.stored(oid(3))
	half, err := b.store.Reserve(ctx, oid(4), size) // a crash while its file was stored
	b.Must(err)
	for _, o := range []lfs.Object{gone, saved} {
		_, err := b.DB.Exec(ctx, "DELETE FROM lfs_objects_projects WHERE object_id = $1", o.ID)
		b.Must(err)
	}
	condemned := func(now, before time.Time) []lfs.Object {
		b.Must(b.store.Condemn(ctx, now, before))
		list, err := b.store.Condemned(ctx, 100)
		b.Must(err)
		return list
	}
	now := time.Now()
	if list := condemned(now, now.Add(-time.Hour)); len(list) != 0 {
		t.Errorf("at once: %v", list)
	}
	if linked, err := b.store.Link(ctx, b.q.ID, saved.OID, size); !linked || err != nil {
		t.Errorf("link what waits for its removal: %v, %v", linked, err)
	}
	later := now.Add(2 * time.Hour)
	if list := condemned(later, later.Add(-time.Hour)); !slices.Equal(list, []lfs.Object{gone, half}) {
		t.Errorf("later: %v, want %v and %v", list, gone, half)
	}
	if linked, err := b.store.Link(ctx, b.q.ID, gone.OID, size); linked || err != nil {
		t.Errorf("link what is being removed: %v, %v", linked, err)
	}
	if again := b.stored(gone.OID); again.Key() == gone.Key() {
		t.Error("an object uploaded again has the file that is being removed")
	}
	b.Must(b.store.Forget(ctx, gone.ID))
	b.Must(b.store.Forget(ctx, kept.ID)) // not condemned
	for _, o := range []lfs.Object{kept, saved, gone} {
		project := b.p.ID
		if o == saved {
			project = b.q.ID
		}
		if _, err := b.store.Get(ctx, project, o.OID); err != nil {
			t.Errorf("%s: %v", o.OID[:1], err)
		}
	}
}

func TestStore_LockFile(t *testing.T) {
	t.Parallel()
	b, ctx := setup(t), t.Context()
	eve, ada := b.User("eve"), *b.p.Namespace.OwnerID
	l, err := b.store.LockFile(ctx, b.p.ID, eve.ID, "a/b.bin")
	if err != nil || l.Username != "eve" || l.UserName != "Name of eve" || l.Path != "a/b.bin" {
		t.Fatalf("%+v, %v", l, err)
	}
	for name, tc := range map[string]struct {
		path string
		want errs.Kind
	}{
		"taken": {"a/b.bin", errs.Exists}, "blank": {"", errs.Invalid}, "long": {strings.Repeat("a", 512), errs.Invalid}, "NUL": {"a\x00", errs.Invalid},
	} {
		if _, err := b.store.LockFile(ctx, b.p.ID, ada, tc.path); errs.KindOf(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, held, err := b.store.LockAgainst(ctx, b.p.ID, eve.ID, []string{"a/b.bin"}); held || err != nil {
		t.Errorf("her own: %v, %v", held, err)
	}
	for _, who := range []int64{ada, 0} {
		if got, held, err := b.store.LockAgainst(ctx, b.p.ID, who, []string{"x", "a/b.bin"}); !held || err != nil || got != l {
			t.Errorf("somebody else's: %+v, %v, %v", got, held, err)
		}
	}
	for f, want := range map[lfs.LockFilter]int{{}: 1, {Path: "a/b.bin"}: 1, {Path: "a"}: 0, {ID: l.ID}: 1, {ID: l.ID + 1}: 0} {
		if list, err := b.store.Locks(ctx, b.p.ID, f); err != nil || len(list) != want {
			t.Errorf("%+v: %v, %v", f, list, err)
		}
	}
	if err := b.store.Unlock(ctx, b.q.ID, l.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("from another project: %v", err)
	}
	if _, err := b.store.LockOf(ctx, b.q.ID, l.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("from another project: %v", err)
	}
	b.Must(b.store.Unlock(ctx, b.p.ID, l.ID))
	if _, err := b.store.LockOf(ctx, b.p.ID, l.ID); errs.KindOf(err) != errs.NotFound {
		t.Errorf("unlocked: %v", err)
	}
}

func TestValidOID(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{
		oid(1): true, "": false, oid(1)[1:]: false, oid(1) + "1": false, strings.Repeat("A", 64): false, strings.Repeat("g", 64): false,
		"../" + oid(1)[3:]: false, strings.Repeat("é", 32): false,
	} {
		if lfs.ValidOID(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
