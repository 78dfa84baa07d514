package storage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// StaleAge is when a loose object is old enough to be pruned (wire/gitaly.md §15).
const StaleAge = 10 * 24 * time.Hour

// fullRepackStamp is the file whose time says when everything was last packed anew.
const fullRepackStamp = ".gitaly-full-repack-timestamp"

// Info is what is on disk for a repository. Sizes are of the files, in bytes.
type Info struct {
	Size, ObjectsSize, KeepSize, CruftSize   uint64
	LooseRefs, PackedRefsSize                uint64
	LooseObjects, StaleLooseObjects, Garbage uint64
	ReverseIndexes, Crufts, Keeps            uint64

	Packs           []Pack
	MultiPackIndex  MultiPackIndex
	PackBitmap      Bitmap // of a single pack
	MultiPackBitmap Bitmap
	CommitGraph     CommitGraph
	LastFullRepack  time.Time // zero when unknown

	Alternates     []string // as they stand in the file
	AlternatesTime time.Time
	Reftables      []uint64 // sizes of the tables, oldest first; nil for a repository with files
}

// Pack is one pack of the repository's own.
type Pack struct {
	Name        string // without suffix: "pack-<hash>"
	Size        uint64
	Indexed     bool // git can use it: its index comes last
	Cruft, Keep bool // it holds unreachable objects; it must stay
}

// looseObject is the path of a loose object below objects.
var looseObject = regexp.MustCompile(`^[0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})$`)

// inspection is an Info being gathered.
type inspection struct {
	Info
	now     time.Time
	packs   map[string]*Pack
	bitmaps []string // below the repository
}

// Inspect walks once through the repository. Files that vanish meanwhile are left out.
func (r *Repo) Inspect(ctx context.Context) (Info, error) {
	i := inspection{now: time.Now(), packs: map[string]*Pack{}}
	err := filepath.WalkDir(r.Dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // vanished
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // vanished
		}
		rel, _ := filepath.Rel(r.Dir, path)
		i.file(rel, info)
		return nil
	})
	if err != nil {
		return Info{}, fmt.Errorf("inspect repository: %w", err)
	}
	i.collect()
	r.readIndexes(&i)
	r.readAlternates(&i.Info)
	r.readReftables(&i.Info)
	return i.Info, nil
}

// file counts one file.
func (i *inspection) file(rel string, info fs.FileInfo) {
	size := uint64(info.Size()) //nolint:gosec // never negative
	i.Size += size
	switch {
	case rel == "packed-refs":
		i.PackedRefsSize = size
	case rel == fullRepackStamp:
		i.LastFullRepack = info.ModTime()
	case strings.HasPrefix(rel, "refs/") && !strings.HasSuffix(rel, ".lock"):
		i.LooseRefs++
	}
	object, ok := strings.CutPrefix(rel, "objects/")
	if !ok {
		return
	}
	pack, isPack := strings.CutPrefix(object, "pack/")
	switch {
	case looseObject.MatchString(object):
		i.LooseObjects, i.ObjectsSize = i.LooseObjects+1, i.ObjectsSize+size
		if i.now.Sub(info.ModTime()) > StaleAge {
			i.StaleLooseObjects++
		}
	case isPack && strings.HasSuffix(pack, ".bitmap"):
		i.bitmaps = append(i.bitmaps, rel)
	case isPack && strings.HasPrefix(pack, "pack-"):
		i.packFile(pack, size)
	case len(object) > 3 && object[2] == '/':
		i.Garbage++
	}
}

// packFile counts one of the files of a pack.
func (i *inspection) packFile(name string, size uint64) {
	ext := filepath.Ext(name)
	base := strings.TrimSuffix(name, ext)
	p, ok := i.packs[base]
	if !ok {
		p = &Pack{}
		i.packs[base] = p
	}
	switch ext {
	case ".pack":
		p.Name, p.Size = base, size
		i.ObjectsSize += size
	case ".idx":
		p.Indexed = true
	case ".rev":
		i.ReverseIndexes++
	case ".keep", ".promisor":
		p.Keep = true
	case ".mtimes":
		p.Cruft = true
	}
}

// collect lists the packs once all files have been seen.
func (i *inspection) collect() {
	for _, p := range i.packs {
		switch {
		case p.Name == "": // files of a pack that is not there
			continue
		case p.Keep:
			i.Keeps, i.KeepSize = i.Keeps+1, i.KeepSize+p.Size
		case p.Cruft:
			i.Crufts, i.CruftSize = i.Crufts+1, i.CruftSize+p.Size
		}
		i.Packs = append(i.Packs, *p)
	}
	slices.SortFunc(i.Packs, func(a, b Pack) int { return strings.Compare(a.Name, b.Name) })
}

func (r *Repo) readIndexes(i *inspection) {
	i.MultiPackIndex, i.CommitGraph = r.multiPackIndex(), r.commitGraph()
	for _, name := range i.bitmaps {
		if strings.HasPrefix(filepath.Base(name), "multi-pack-index-") {
			i.MultiPackBitmap = r.bitmap(name)
		} else {
			i.PackBitmap = r.bitmap(name)
		}
	}
}

func (r *Repo) readAlternates(i *Info) {
	name := filepath.Join(r.RelativePath, "objects/info/alternates")
	raw, err := r.Storage.root.ReadFile(name)
	if err != nil {
		return // most have none
	}
	i.Alternates = strings.Fields(string(raw))
	if info, err := r.Storage.root.Stat(name); err == nil {
		i.AlternatesTime = info.ModTime()
	}
}

// readReftables lists the tables of a repository whose references are not files;
// then what is below refs is not one of them.
func (r *Repo) readReftables(i *Info) {
	dir := filepath.Join(r.RelativePath, "reftable")
	raw, err := r.Storage.root.ReadFile(filepath.Join(dir, "tables.list"))
	if err != nil {
		return
	}
	i.LooseRefs, i.Reftables = 0, []uint64{}
	for name := range strings.FieldsSeq(string(raw)) {
		if info, err := r.Storage.root.Stat(filepath.Join(dir, name)); err == nil {
			i.Reftables = append(i.Reftables, uint64(info.Size())) //nolint:gosec // never negative
		}
	}
}

// StampFullRepack remembers that everything in the repository is packed anew as of
// the given time.
func StampFullRepack(repoDir string, at time.Time) error {
	path := filepath.Join(repoDir, fullRepackStamp)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // in a repository of ours
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Chtimes(path, at, at)
	}
	if err != nil {
		return fmt.Errorf("stamp full repack: %w", err)
	}
	return nil
}

// pool is where object pools are (wire/gitaly.md §14).
var pool = regexp.MustCompile(`^(@pools/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{64})\.git|@cluster/pools/[0-9a-f]{2}/[0-9a-f]{2}/[0-9]+)$`)

// IsPool reports whether the repository is an object pool by its place: others borrow
// its objects, so none of them may go.
func (r *Repo) IsPool() bool {
	m := pool.FindStringSubmatch(r.RelativePath)
	return m != nil && m[4][:min(4, len(m[4]))] == m[2]+m[3]
}
