package object

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"gitsplit/services/gitaly/internal/gitcmd"
)

// News is what a small push has brought.
type News struct {
	Parents map[string][]string // of its commits
	Small   []Blob              // its blobs of at most SmallBlob bytes
}

// Blob is an object with its content.
type Blob struct {
	OID  string
	Data []byte
}

// Reaches reports whether a commit of the push is the ancestor's descendant, as far as
// the commits of the push tell: false may be wrong.
func (n *News) Reaches(ancestor, child string) bool {
	if _, ours := n.Parents[child]; !ours {
		return false
	}
	seen, next := map[string]bool{}, []string{child}
	for len(next) > 0 {
		oid := next[len(next)-1]
		next = next[:len(next)-1]
		parents, ours := n.Parents[oid]
		switch {
		case oid == ancestor:
			return true
		case ours && !seen[oid]:
			seen[oid], next = true, append(next, parents...)
		}
	}
	return false
}

// What is a small push: the size of its pack, the number of its objects, and what they
// are when they are unpacked.
const (
	smallPack    = 256 << 10
	smallObjects = 1000
	smallContent = 16 << 20
	SmallBlob    = 200
)

// Several questions are asked about a push before it is over. More pushes than newsKept
// at a time ask git again.
const (
	newsFor  = 10 * time.Second
	newsKept = 256
)

// Outputter is the part of gitcmd.Factory that Incoming needs.
type Outputter interface {
	Reader(ctx context.Context, repo *gitcmd.Repo, s gitcmd.Spec) (*gitcmd.Reader, error)
}

// Incoming reads the quarantine of a small push with one git and remembers for a moment
// what was in it, for all who ask about the push. It is safe for concurrent use.
type Incoming struct {
	mu   sync.Mutex
	news map[string]*reading // by the path of the pack
}

// reading is what one git finds.
type reading struct {
	done chan struct{} // closed when news is known
	news *News         // nil if it could not tell
}

// News returns what a push has brought, or nil if the repository is no quarantine, the
// push is not small, or git could not tell: then there are other ways to find out.
func (c *Incoming) News(ctx context.Context, git Outputter, repo *gitcmd.Repo) *News {
	pack := onlyPack(repo.ObjectDir)
	if pack == "" {
		return nil
	}
	r, first := c.reading(pack)
	if first {
		defer close(r.done)
		alone := *repo
		alone.Alternates = nil // git completes the pack of a push: it needs no other
		if n, err := readNews(ctx, git, &alone); err == nil {
			r.news = n
		}
		return r.news
	}
	select {
	case <-r.done:
		return r.news
	case <-ctx.Done():
		return nil
	}
}

// reading returns the reading of a pack, and whether it is the caller's to do.
func (c *Incoming) reading(pack string) (r *reading, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.news[pack]; r != nil {
		return r, false
	}
	if c.news == nil || len(c.news) >= newsKept {
		c.news = map[string]*reading{}
	}
	r = &reading{done: make(chan struct{})}
	c.news[pack] = r
	time.AfterFunc(newsFor, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.news, pack)
	})
	return r, true
}

// onlyPack returns the path of the pack in a quarantine that holds nothing else and no
// large one, else "". Its name is a sum of its content.
func onlyPack(quarantine string) string {
	if quarantine == "" {
		return ""
	}
	dirs, _ := os.ReadDir(quarantine)
	for _, d := range dirs {
		if d.Name() != "pack" && d.Name() != "info" {
			return ""
		}
	}
	found := ""
	files, _ := os.ReadDir(filepath.Join(quarantine, "pack"))
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".pack") {
			continue
		}
		info, err := f.Info()
		if err != nil || found != "" || !info.Mode().IsRegular() || info.Size() > smallPack {
			return ""
		}
		found = filepath.Join(quarantine, "pack", f.Name())
	}
	return found
}

// errNotSmall ends the reading of a push that unpacks to more than was thought.
var errNotSmall = errors.New("push is not small")

func readNews(ctx context.Context, git Outputter, repo *gitcmd.Repo) (_ *News, err error) {
	out, err := git.Reader(ctx, repo, gitcmd.Spec{Name: "cat-file", Flags: []string{"--batch", "--batch-all-objects", "--unordered", "--buffer"}})
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // at the end of the output git has ended
	n, r := &News{Parents: map[string][]string{}}, bufio.NewReaderSize(out, 32<<10)
	left := int64(smallContent)
	for range smallObjects {
		line, err := r.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" {
			return n, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read cat-file: %w", err)
		}
		info, err := parse(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, err
		}
		if left -= info.Size; left < 0 {
			return nil, errNotSmall
		}
		if err := n.add(info, r); err != nil {
			return nil, err
		}
	}
	return nil, errNotSmall
}

// add takes one object and the line break behind it.
func (n *News) add(info Info, r *bufio.Reader) error {
	if info.Type != "commit" && (info.Type != "blob" || info.Size > SmallBlob) {
		_, err := io.CopyN(io.Discard, r, info.Size+1)
		return err
	}
	data := make([]byte, info.Size+1)
	if _, err := io.ReadFull(r, data); err != nil {
		return fmt.Errorf("read object %s: %w", info.OID, err)
	}
	if data = data[:info.Size]; info.Type == "blob" {
		n.Small = append(n.Small, Blob{OID: info.OID, Data: data})
		return nil
	}
	n.Parents[info.OID] = parents(string(data))
	return nil
}

// parents reads the header of a commit.
func parents(text string) []string {
	var out []string
	for line := range strings.Lines(text) {
		if line == "\n" {
			break
		}
		if oid, ok := strings.CutPrefix(line, "parent "); ok {
			out = append(out, strings.TrimSuffix(oid, "\n"))
		}
	}
	return out
}
