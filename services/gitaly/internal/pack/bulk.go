package pack

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"gitsplit/kit/durable"
	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// Git moves each reference of a push alone and syncs its file before it gets its name:
// thousands of waits for the disk, one after the other, where a repository is pushed for
// the first time. A push that makes many references and does nothing else needs that
// less than others, for there is no value of before that a crash of the machine could
// take with it. Its references are made durable by the gate, with the file system as a
// whole, before git's report passes. A crash before that may leave empty files, which
// package leftover removes; nobody was told that they are references. Where the kernel or
// the file system would not tell what could not be written, git syncs each file.

// bulkFrom is how many references a push must make to be such a one, and maxCommands how
// many bytes of its commands are held to find that out, about twice as much while they
// grow: 100,000 references with names of 80 bytes fit. A push of more is one like others.
const (
	bulkFrom    = 100
	maxCommands = 16 << 20
)

// commands stands before the stdin of a receive-pack and reads first what the client
// wants. If that is to make many references and nothing else, git gets an empty list, at
// which it ends without having done anything: the push is for another git then.
type commands struct {
	r    io.Reader
	file bool // references are files, each of its own
	read bool
	out  io.Reader
	bulk atomic.Bool // known when the first git has ended
	head []byte
}

func newCommands(r io.Reader, repo *storage.Repo) *commands {
	_, err := os.Stat(filepath.Join(repo.Dir, "reftable"))
	return &commands{r: r, file: errors.Is(err, fs.ErrNotExist) && durable.Tells(repo.Dir)}
}

// Read reads from the client, but for a bulk.
func (c *commands) Read(p []byte) (int, error) {
	if !c.read {
		c.read = true
		head, creates, err := readCommands(c.r)
		switch {
		case err != nil:
			c.out = io.MultiReader(bytes.NewReader(head), failing{err})
		case c.file && creates >= bulkFrom:
			c.out, c.head = strings.NewReader("0000"), head
			c.bulk.Store(true)
		default:
			c.out = io.MultiReader(bytes.NewReader(head), c.r)
		}
	}
	return c.out.Read(p)
}

// again is the spec for the git that does the bulk, which takes over what was held.
// References were listed already.
func (c *commands) again(spec gitcmd.Spec) gitcmd.Spec {
	spec.Flags = []string{"--stateless-rpc"}
	spec.Config = append(spec.Config[:len(spec.Config):len(spec.Config)], gitcmd.Config{Key: "core.fsync", Value: "objects,derived-metadata"})
	spec.Stdin = io.MultiReader(bytes.NewReader(c.head), c.r)
	c.head = nil
	return spec
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// readCommands reads the commands of a push, up to the first that does something else
// than to make a reference, and counts those that do; 0 if there was one that does not.
// head is all that was read. An error is r's.
func readCommands(r io.Reader) (head []byte, creates int, err error) {
	for len(head) < maxCommands {
		at := len(head)
		if head, err = readOn(r, head, 4); err != nil {
			return head, 0, err
		}
		n, bad := strconv.ParseUint(string(head[at:]), 16, 16)
		switch size := int(n) - 4; { //nolint:gosec // 16 bits
		case bad == nil && n == 0:
			return head, creates, nil
		case bad != nil, size <= 0: // git will say what it thinks of it
			return head, 0, nil
		default:
			if head, err = readOn(r, head, size); err != nil {
				return head, 0, err
			}
		}
		if !makes(head[at+4:]) {
			return head, 0, nil
		}
		creates++
	}
	return head, 0, nil
}

func readOn(r io.Reader, head []byte, n int) ([]byte, error) {
	at := len(head)
	head = append(head, make([]byte, n)...)
	got, err := io.ReadFull(r, head[at:])
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return head[:at+got], err
}

// makes reports whether a command, "<old> SP <new> SP <name>", makes a reference.
func makes(command []byte) bool {
	old, rest, _ := bytes.Cut(command, []byte(" "))
	oid, _, found := bytes.Cut(rest, []byte(" "))
	return found && (len(old) == 40 || len(old) == 64) && len(old) == len(oid) && zeros(old) && !zeros(oid)
}

func zeros(oid []byte) bool { return len(bytes.Trim(oid, "0")) == 0 }
