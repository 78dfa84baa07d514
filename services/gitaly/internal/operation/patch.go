package operation

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/commit"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// maxPatches is how much of a mailbox is taken, in bytes.
const maxPatches = 256 << 20

// PatchFailed is a patch that does not fit.
type PatchFailed struct {
	Number  int // from 1
	Subject string
	Err     error // why, for the log
}

// Error has the words of git am.
func (p *PatchFailed) Error() string {
	return fmt.Sprintf("Patch failed at %04d %s", p.Number, p.Subject)
}

// Unwrap returns the cause.
func (p *PatchFailed) Unwrap() error { return p.Err }

// ApplyPatches commits the patches of a mailbox onto a commit, as git am --3way does
// but without files, and returns the id of the last. One that does not fit is a
// *PatchFailed; what is applied already is left out.
func (w *Work) ApplyPatches(ctx context.Context, onto string, mailbox io.Reader, committer Signature) (string, error) {
	count, err := w.splitMail(ctx, mailbox)
	if err != nil {
		return "", err
	}
	tip, err := w.Raw(onto)
	if err != nil {
		return "", err
	}
	if err := w.index(ctx, "index", gitcmd.Spec{Name: "read-tree", Args: []string{tip.Tree}}); err != nil {
		return "", err
	}
	for n := 1; n <= count; n++ {
		m, err := w.readMail(ctx, n)
		if err == nil {
			err = w.applyMail(ctx, &m, tip.Tree)
		}
		if err == nil && m.commit.Tree != tip.Tree {
			tip, tip.Parents = m.commit, []string{onto}
			onto, err = w.Rewrite(ctx, tip, committer)
		}
		if unfit(err) && ctx.Err() == nil {
			return "", &PatchFailed{Number: n, Subject: m.subject, Err: err}
		}
		if err != nil {
			return "", err
		}
	}
	return onto, nil
}

// errEmpty is a mail without a patch.
var errEmpty = errors.New("patch is empty")

// unfit tells the faults of a patch from ours.
func unfit(err error) bool {
	var git *gitcmd.Error
	var conflict *Conflict
	return errors.As(err, &git) || errors.As(err, &conflict) || errors.Is(err, errEmpty) || errs.KindOf(err) == errs.Invalid
}

// splitMail puts each mail into a file of its own and returns how many there are.
func (w *Work) splitMail(ctx context.Context, mailbox io.Reader) (int, error) {
	box, err := os.OpenFile(filepath.Join(w.dir, "mailbox"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return 0, fmt.Errorf("split mailbox: %w", err)
	}
	defer func() { _ = box.Close() }()
	n, err := io.Copy(box, io.LimitReader(mailbox, maxPatches+1))
	if err == nil {
		_, err = box.Seek(0, io.SeekStart)
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("split mailbox: %w", err)
	case n == 0:
		return 0, errs.New(errs.Invalid, "no patches")
	case n > maxPatches:
		return 0, errs.Newf(errs.Invalid, "patches are larger than %d bytes", maxPatches)
	}
	dir := filepath.Join(w.dir, "mails")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, fmt.Errorf("split mailbox: %w", err)
	}
	out, err := w.s.o.Git.Output(ctx, w.view(), gitcmd.Spec{Name: "mailsplit", Flags: []string{"-b"}, Args: []string{dir}, Stdin: box}, 1<<10)
	if err != nil {
		return 0, errs.Wrap(errs.Invalid, "patches are no mailbox", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(out)))
}

// letter is one mail, on its way to become a commit.
type letter struct {
	subject string
	patch   string // the file with it
	commit  commit.Raw
}

// readMail reads a mail as git am does: author and subject out of its head, the
// message from its body up to the patch.
func (w *Work) readMail(ctx context.Context, n int) (letter, error) {
	file := filepath.Join(w.dir, "mails", fmt.Sprintf("%04d", n))
	m := letter{patch: file + ".patch"}
	in, err := os.Open(file)
	if err != nil {
		return m, fmt.Errorf("read mail: %w", err)
	}
	defer func() { _ = in.Close() }()
	var by Signature
	spec := gitcmd.Spec{Name: "mailinfo", Args: []string{file + ".message", m.patch}, Stdin: in}
	err = w.s.o.Git.Lines(ctx, w.view(), spec, func(line []byte) error {
		key, value, _ := strings.Cut(string(line), ": ")
		switch key {
		case "Author":
			by.Name = clean(value)
		case "Email":
			by.Email = clean(value)
		case "Subject":
			m.subject = strings.TrimPrefix(m.subject+"\n"+value, "\n")
		case "Date":
			by.When = w.s.o.Now().UTC()
			if at, err := mail.ParseDate(value); err == nil {
				by.When = at
			}
		}
		return nil
	})
	if err != nil {
		return m, err
	}
	if m.commit.Author, err = by.Line(); err != nil {
		return m, err
	}
	m.commit.Message, err = message(m.subject, file+".message")
	return m, err
}

// message joins a subject and a body, cleaned as git stripspace does.
func message(subject, body string) ([]byte, error) {
	f, err := os.Open(body)
	if err != nil {
		return nil, fmt.Errorf("read mail: %w", err)
	}
	defer func() { _ = f.Close() }()
	var out strings.Builder
	blank := false
	lines := bufio.NewReader(io.MultiReader(strings.NewReader(subject+"\n\n"), f))
	for {
		line, err := lines.ReadString('\n')
		line = strings.TrimRight(line, " \t\n\r")
		switch {
		case line == "":
			blank = out.Len() > 0
		case blank:
			out.WriteString("\n")
			fallthrough
		default:
			out.WriteString(line + "\n")
			blank = false
		}
		if errors.Is(err, io.EOF) {
			return []byte(out.String()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read mail: %w", err)
		}
	}
}

// applyMail finds the tree of a patch: as it is, or, if it does not fit, by merging
// what it makes of the files that it was made for.
func (w *Work) applyMail(ctx context.Context, m *letter, onto string) (err error) {
	if info, err := os.Stat(m.patch); err != nil || info.Size() == 0 {
		return errors.Join(errEmpty, err)
	}
	direct := w.index(ctx, "index", gitcmd.Spec{Name: "apply", Flags: []string{"--cached"}, Args: []string{m.patch}})
	if direct == nil {
		m.commit.Tree, err = w.writeTree(ctx, "index")
		return err
	}
	base, theirs, err := w.ancestor(ctx, m.patch)
	if err != nil {
		return errors.Join(direct, err)
	}
	if m.commit.Tree, err = w.threeWay(ctx, base, onto, theirs); err != nil {
		return errors.Join(direct, err)
	}
	return w.index(ctx, "index", gitcmd.Spec{Name: "read-tree", Args: []string{m.commit.Tree}})
}

// ancestor makes the trees before and after a patch out of the ids that it names.
func (w *Work) ancestor(ctx context.Context, patch string) (before, after string, err error) {
	fake := filepath.Join(w.dir, "ancestor")
	err = w.s.o.Git.Run(ctx, w.view(), gitcmd.Spec{Name: "apply", Flags: []string{"--build-fake-ancestor=" + fake}, Args: []string{patch}})
	if err == nil {
		before, err = w.writeTree(ctx, "ancestor")
	}
	if err == nil {
		err = w.index(ctx, "ancestor", gitcmd.Spec{Name: "apply", Flags: []string{"--cached"}, Args: []string{patch}})
	}
	if err == nil {
		after, err = w.writeTree(ctx, "ancestor")
	}
	return before, after, err
}

// index runs git with an index of ours.
func (w *Work) index(ctx context.Context, name string, spec gitcmd.Spec) error {
	spec.Env = append(spec.Env, "GIT_INDEX_FILE="+filepath.Join(w.dir, name))
	return w.s.o.Git.Run(ctx, w.view(), spec)
}

// writeTree writes the tree of an index.
func (w *Work) writeTree(ctx context.Context, name string) (string, error) {
	out, err := w.s.o.Git.Output(ctx, w.view(), gitcmd.Spec{Name: "write-tree", Env: []string{"GIT_INDEX_FILE=" + filepath.Join(w.dir, name)}}, 1<<10)
	return strings.TrimSpace(string(out)), err
}
