package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"gitsplit/kit/durable"
)

// gate holds git's report back until the directories that got new names are
// durable: git syncs files, but no directory (design §6.1, security-baseline.md
// D1). Everything before the report passes as it comes.
type gate struct {
	w      io.Writer
	repo   string
	since  time.Time // directories touched earlier have nothing new
	report *report
	whole  *durable.FileSystem // of a push whose references git does not sync; else nil
	synced bool
	err    error // of the sync

	head []byte // the beginning of the present packet: length, first payload bytes
	skip int    // bytes of the packet that are still to pass
}

// reportStart is how a report begins for a client without side-band.
const reportStart = "unpack "

// Write looks at each packet's beginning. The report is what comes in band 1, or
// the text above; the only other thing of the kind in receive-pack's output is its
// keep-alive, an empty packet in band 1.
func (g *gate) Write(p []byte) (int, error) {
	if g.err != nil { // a sync that failed is not tried again (security-baseline.md D3)
		return 0, g.err
	}
	g.report.outer.write(p)
	rest := p
	for !g.synced && len(rest) > 0 {
		if g.skip > 0 {
			n := min(g.skip, len(rest))
			g.skip, rest = g.skip-n, rest[n:]
			continue
		}
		g.head = append(g.head, rest[0])
		rest = rest[1:]
		if err := g.look(); err != nil {
			return 0, err
		}
	}
	return g.w.Write(p)
}

// look decides about the packet as soon as its beginning is known.
func (g *gate) look() error {
	if len(g.head) < 4 {
		return nil
	}
	n, err := strconv.ParseUint(string(g.head[:4]), 16, 16)
	if err != nil { // no packets: hold nothing back that we do not understand
		return g.sync()
	}
	payload := g.head[4:]
	switch size := int(n) - 4; { //nolint:gosec // 16 bits
	case size <= 0:
		g.head = nil
	case len(payload) == 0: // wait for the first byte
	case payload[0] == 1 && size > 1, string(payload) == reportStart:
		return g.sync()
	case len(payload) < size && bytes.HasPrefix([]byte(reportStart), payload): // could still become one
	default:
		g.head, g.skip = nil, size-len(payload)
	}
	return nil
}

// sync is SyncChanged for the push, or more. A failure ends it without a report
// (security-baseline.md D3).
func (g *gate) sync() error {
	g.synced = true
	var err error
	if g.whole != nil {
		err = g.whole.Sync()
	} else {
		err = SyncChanged(g.repo, g.since)
	}
	if err != nil {
		g.err = fmt.Errorf("make push durable: %w", err)
	}
	return g.err
}

// SyncChanged makes every directory of a repository durable that has changed since
// the given time. Whoever moves references calls it before saying so.
func SyncChanged(repo string, since time.Time) error {
	since = since.Add(-time.Second) // file times lag behind the clock
	dirs := []string{repo, filepath.Join(repo, "reftable")}
	err := errors.Join(below(filepath.Join(repo, "objects"), &dirs), below(filepath.Join(repo, "refs"), &dirs))
	if err != nil {
		return err
	}
	var all errgroup.Group // syncs at the same time share a commit of the file system
	all.SetLimit(syncsAtATime)
	for _, dir := range dirs {
		all.Go(func() error { return syncIfNewer(dir, since) })
	}
	return all.Wait()
}

const syncsAtATime = 16

// below adds the directories at and below root.
func below(root string, dirs *[]string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // another push's quarantine, or an emptied directory of refs
			return nil
		case err != nil:
			return err
		case d.IsDir():
			*dirs = append(*dirs, path)
		}
		return nil
	})
}

func syncIfNewer(dir string, since time.Time) error {
	info, err := os.Stat(dir)
	if err == nil && !info.ModTime().Before(since) {
		err = durable.SyncDir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
