// Package object reads git objects: one git cat-file serves all questions of a
// request, asked and answered over its pipes, so no name travels in an argument. Where
// it comes from, and whether it serves the next request too, is gitcmd's.
package object

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/gitcmd"
)

// Git is the part of gitcmd.Factory that this package needs.
type Git interface {
	CatFile(ctx context.Context, repo *gitcmd.Repo) (*gitcmd.CatFile, error)
}

// Info describes an object. Type is commit, tree, blob or tag.
type Info struct {
	OID  string
	Type string
	Size int64
}

// Reader reads the objects of one repository. It is not safe for concurrent use.
type Reader struct {
	git    *gitcmd.CatFile
	rest   io.Reader // of the object being read
	broken bool      // an answer could not be read or understood
}

// MaxHeld is the largest object that Contents holds in memory. Trees, commits and
// tags are smaller; blobs are streamed.
const MaxHeld = 64 << 20

// errLost means that git and we no longer agree on where an answer begins.
var errLost = errors.New("cat-file answers out of order")

// Open takes hold of a git for the repository, until Close or the end of ctx. Close
// must be called.
func Open(ctx context.Context, git Git, repo *gitcmd.Repo) (*Reader, error) {
	c, err := git.CatFile(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &Reader{git: c}, nil
}

// Close lets go of git. If it still had something to say it is ended and waited for.
func (r *Reader) Close() error { return r.git.Release(r.rest == nil && !r.broken) }

// Info describes the object that a name or expression stands for. One that is not
// there is errs.NotFound.
func (r *Reader) Info(name string) (Info, error) { return r.ask("info", name) }

// ask sends one question and reads the first line of its answer.
func (r *Reader) ask(command, name string) (Info, error) {
	if name == "" || strings.ContainsAny(name, "\n\x00") {
		return Info{}, errs.New(errs.Invalid, "invalid object name")
	}
	if r.rest != nil {
		return Info{}, errLost
	}
	line, err := r.exchange(command + " " + name + "\n")
	if err != nil {
		r.broken = true
		return Info{}, err
	}
	info, err := parse(line)
	r.broken = errors.Is(err, errLost)
	return info, err
}

func (r *Reader) exchange(question string) (string, error) {
	if r.broken {
		return "", errLost
	}
	if _, err := io.WriteString(r.git.In, question); err != nil {
		return "", fmt.Errorf("ask cat-file: %w", err)
	}
	line, err := r.git.Out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("read answer of cat-file: %w", err)
	}
	return strings.TrimSuffix(line, "\n"), nil
}

// parse reads "<oid> <type> <size>", or "<name> missing" and the like.
func parse(line string) (Info, error) {
	fields := strings.Split(line, " ")
	switch last := fields[len(fields)-1]; {
	case len(fields) >= 2 && (last == "missing" || last == "ambiguous"):
		return Info{}, errs.New(errs.NotFound, "object not found")
	case len(fields) != 3:
		return Info{}, fmt.Errorf("%w: %q", errLost, line)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || size < 0 {
		return Info{}, fmt.Errorf("%w: %q", errLost, line)
	}
	return Info{OID: fields[0], Type: fields[1], Size: size}, nil
}

// Stream opens an object. All its bytes must be read before the next question; Discard
// does that.
func (r *Reader) Stream(name string) (Info, io.Reader, error) {
	info, err := r.ask("contents", name)
	if err != nil {
		return Info{}, nil, err
	}
	c := &contents{owner: r, left: info.Size}
	r.rest = c
	if c.left == 0 {
		err = c.finish()
	}
	return info, c, err
}

// Discard skips what is left of the object that Stream opened.
func (r *Reader) Discard() error {
	if r.rest == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, r.rest)
	return err
}

// Contents reads a whole object, of one of the given types if there are any.
func (r *Reader) Contents(name string, types ...string) (Info, []byte, error) {
	info, rd, err := r.Stream(name)
	if err != nil {
		return Info{}, nil, err
	}
	if info.Size > MaxHeld || !wanted(info.Type, types) {
		if err := r.Discard(); err != nil {
			return Info{}, nil, err
		}
		if info.Size > MaxHeld {
			return Info{}, nil, errs.Newf(errs.FailedPrecondition, "object %s is too large", info.OID)
		}
		return info, nil, errs.Newf(errs.NotFound, "object %s is a %s", info.OID, info.Type)
	}
	data := make([]byte, info.Size)
	if _, err := io.ReadFull(rd, data); err != nil {
		return Info{}, nil, fmt.Errorf("read object %s: %w", info.OID, err)
	}
	if r.rest != nil { // its end did not come
		return Info{}, nil, fmt.Errorf("read object %s: %w", info.OID, errLost)
	}
	return info, data, nil
}

func wanted(typ string, types []string) bool {
	for _, t := range types {
		if t == typ {
			return true
		}
	}
	return len(types) == 0
}

// contents reads one object, and with its last byte the line break behind it: who knows
// the size reads no further.
type contents struct {
	owner *Reader
	left  int64
}

func (c *contents) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.owner.git.Out.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	switch {
	case c.left == 0:
		err = c.finish()
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// finish consumes the line break.
func (c *contents) finish() error {
	b, err := c.owner.git.Out.ReadByte()
	if err != nil {
		return fmt.Errorf("read end of object: %w", err)
	}
	if b != '\n' {
		return errLost
	}
	c.owner.rest = nil
	return nil
}
