package reconcile

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"gitsplit/services/rails-api/internal/access"
	"gitsplit/services/rails-api/internal/event"
	"gitsplit/services/rails-api/internal/project"
)

// errEnough ends a comparison that has found what one event takes.
var errEnough = errors.New("enough differences")

// compare returns how the references of a repository differ from the known ones, at
// most PerEvent of them. Both lists are in the order of their bytes and are read
// side by side, so that none of them is ever held whole.
func (r *Reconciler) compare(ctx context.Context, p project.Project) ([]access.Change, error) {
	c := comparison{most: r.PerEvent, known: &known{events: r.Events, projectID: p.ID}}
	err := r.Gitaly.References(ctx, p, func(name, oid string) error { return c.actual(ctx, name, oid) })
	if err == nil {
		err = c.end(ctx)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return c.changes, nil
}

type comparison struct {
	most    int
	known   *known
	last    string
	changes []access.Change
}

// actual takes the next reference of the repository.
func (c *comparison) actual(ctx context.Context, name, oid string) error {
	if name <= c.last {
		return fmt.Errorf("gitaly lists reference %q after %q", name, c.last)
	}
	if c.last = name; !event.Tracked(name) {
		return nil
	}
	for {
		ref, err := c.known.peek(ctx)
		if err != nil {
			return err
		}
		if ref == nil || ref.Name > name {
			return c.differ(name, "", oid)
		}
		c.known.next()
		if ref.Name == name {
			return c.differ(name, ref.OID, oid)
		}
		if err := c.differ(ref.Name, ref.OID, ""); err != nil {
			return err
		}
	}
}

// end takes the known references behind the last of the repository.
func (c *comparison) end(ctx context.Context) error {
	for {
		ref, err := c.known.peek(ctx)
		if err != nil || ref == nil {
			return err
		}
		c.known.next()
		if err := c.differ(ref.Name, ref.OID, ""); err != nil {
			return err
		}
	}
}

func (c *comparison) differ(name, should, is string) error {
	if should == is {
		return nil
	}
	none := strings.Repeat("0", max(len(should), len(is)))
	change := access.Change{Ref: name, Old: should, New: is}
	if should == "" {
		change.Old = none
	}
	if is == "" {
		change.New = none
	}
	if c.changes = append(c.changes, change); len(c.changes) == c.most {
		return errEnough
	}
	return nil
}

// known reads the references of a project as they should be, page by page.
type known struct {
	events    *event.Recorder
	projectID int64
	page      []event.Ref
	last      string
	done      bool
}

// peek returns the next one, nil behind the last.
func (k *known) peek(ctx context.Context) (*event.Ref, error) {
	if len(k.page) == 0 && !k.done {
		var err error
		if k.page, err = k.events.References(ctx, k.projectID, k.last, pageSize); err != nil {
			return nil, err
		}
		k.done = len(k.page) < pageSize
	}
	if len(k.page) == 0 {
		return nil, nil
	}
	return &k.page[0], nil
}

func (k *known) next() { k.last, k.page = k.page[0].Name, k.page[1:] }
