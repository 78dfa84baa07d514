package ref

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Transaction moves references, all or none. Changes travel to git as they come, so
// their number does not matter here. It ends with Commit or Abort.
type Transaction struct {
	proc *gitcmd.Process
	in   *os.File
	buf  *bufio.Writer
	zero string // "no object" in the repository's hash
}

// LockedError says that somebody else is moving a reference. Name is "" when git
// waits for something all references share.
type LockedError struct{ Name string }

// Error names the reference.
func (e *LockedError) Error() string { return fmt.Sprintf("reference is already locked: %q", e.Name) }

// StateError says that a reference is not what it must be. Ids that git does not
// tell are "".
type StateError struct{ Name, Expected, Actual string }

// Error names the reference and both ids.
func (e *StateError) Error() string {
	return fmt.Sprintf("reference %q is %q, expected %q", e.Name, e.Actual, e.Expected)
}

// Begin starts git. hooks sets what the transaction calls; use NoHooks for none. With
// the flag --no-deref symbolic references are changed themselves.
func Begin(ctx context.Context, git Git, repo *gitcmd.Repo, hooks gitcmd.Spec) (*Transaction, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("begin reference transaction: %w", err)
	}
	hooks.Name, hooks.Flags, hooks.Stdin = "update-ref", append([]string{"--stdin", "-z"}, hooks.Flags...), childIn
	proc, err := git.Start(ctx, repo, hooks)
	closeErr := childIn.Close() // git has its own
	if err != nil {
		return nil, errors.Join(err, closeErr, in.Close())
	}
	t := &Transaction{proc: proc, in: in, buf: bufio.NewWriter(in)}
	t.write("start")
	return t, nil
}

// Add queues a change. One that is malformed is errs.Invalid; the transaction may go
// on without it, but hardly should.
func (t *Transaction) Add(c Change) error {
	if err := c.check(); err != nil {
		return err
	}
	t.zero = ZeroOID(c.New)
	t.write("update "+c.Name, c.New, c.Old)
	return nil
}

// write sends a command. When git is gone already, Commit will say why.
func (t *Transaction) write(fields ...string) {
	for _, f := range fields {
		_, _ = t.buf.WriteString(f)
		_ = t.buf.WriteByte(0)
	}
}

// Commit carries the changes out and waits for git. A reference that is locked or not
// what it must be is errs.Conflict around a LockedError or StateError; an object that
// is not there is errs.NotFound, one that no branch may have errs.Invalid.
func (t *Transaction) Commit() error {
	t.write("prepare", "commit")
	flushErr := errors.Join(t.buf.Flush(), t.in.Close())
	if err := t.proc.Wait(); err != nil {
		return t.explain(err)
	}
	return flushErr
}

// Abort ends git; nothing has moved.
func (t *Transaction) Abort() {
	_ = t.in.Close() // without a commit, git drops the changes
	_ = t.proc.Wait()
}

// What git says of a transaction that fails. Names may hold quotes, but no colon.
var (
	lockedText  = regexp.MustCompile(`(?s)(?:cannot lock ref '([^:]+)': )?Unable to create '.*?\.lock': File exists|cannot lock references`)
	stateText   = regexp.MustCompile(`cannot lock ref '([^:]+)': is at ([0-9a-f]+) but expected ([0-9a-f]+)`)
	existsText  = regexp.MustCompile(`cannot lock ref '([^:]+)': reference already exists`)
	missingText = regexp.MustCompile(`cannot lock ref '([^:]+)': unable to resolve reference`)
)

func (t *Transaction) explain(err error) error {
	var failed *gitcmd.Error
	if !errors.As(err, &failed) || failed.Code != 128 {
		return err
	}
	text := failed.Stderr
	conflict := func(cause error) error {
		return errs.Wrap(errs.Conflict, "reference could not be updated", errors.Join(cause, err))
	}
	if m := stateText.FindStringSubmatch(text); m != nil {
		return conflict(&StateError{Name: m[1], Actual: m[2], Expected: m[3]})
	}
	if m := existsText.FindStringSubmatch(text); m != nil {
		return conflict(&StateError{Name: m[1], Expected: t.zero})
	}
	if m := missingText.FindStringSubmatch(text); m != nil {
		return conflict(&StateError{Name: m[1], Actual: t.zero})
	}
	if m := lockedText.FindStringSubmatch(text); m != nil {
		return conflict(&LockedError{Name: m[1]})
	}
	switch {
	case strings.Contains(text, "with nonexistent object"):
		return errs.Wrap(errs.NotFound, "target object missing", err)
	case strings.Contains(text, "trying to write non-commit object"):
		return errs.Wrap(errs.Invalid, "target object not a commit", err)
	case strings.Contains(text, "multiple updates for"):
		return errs.Wrap(errs.Invalid, "reference is updated more than once", err)
	case strings.Contains(text, "invalid <newvalue>"), strings.Contains(text, "invalid <oldvalue>"):
		return errs.Wrap(errs.Invalid, "invalid object id", err)
	}
	return conflict(nil)
}

// Delete deletes references whatever they point at, all or none. Symbolic ones go
// themselves; those that are not there are passed over. Errors are those of Transaction.
func Delete(ctx context.Context, git Git, repo *gitcmd.Repo, names []string) error {
	return remove(ctx, git, repo, func(each func(name string) error) error {
		for _, name := range names {
			if err := each(name); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteExcept is Delete for all references but those whose full names begin with one
// of the prefixes.
func DeleteExcept(ctx context.Context, git Git, repo *gitcmd.Repo, prefixes []string) error {
	return remove(ctx, git, repo, func(each func(name string) error) error {
		return List(ctx, git, repo, Query{}, func(r Ref) error {
			for _, p := range prefixes {
				if strings.HasPrefix(r.Name, p) {
					return nil
				}
			}
			return each(r.Name)
		})
	})
}

// remove deletes what list lists.
func remove(ctx context.Context, git Git, repo *gitcmd.Repo, list func(each func(name string) error) error) error {
	t, err := Begin(ctx, git, repo, gitcmd.Spec{NoHooks: true, Flags: []string{"--no-deref"}})
	if err != nil {
		return err
	}
	err = list(func(name string) error {
		if !Valid(name) {
			return errs.New(errs.Invalid, "invalid refname")
		}
		t.write("delete "+name, "")
		return nil
	})
	if err != nil {
		t.Abort()
		return err
	}
	return t.Commit()
}
