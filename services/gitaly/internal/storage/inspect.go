package storage

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Info is what is on disk for a repository. Sizes are of the files, in bytes.
type Info struct {
	Size, ObjectsSize, KeepSize, CruftSize uint64
	LooseRefs, PackedRefsSize              uint64
	LooseObjects, Garbage                  uint64
	Packs, ReverseIndexes, Crufts, Keeps   uint64
	Alternates                             []string
	AlternatesTime                         time.Time
}

// looseObject is the path of a loose object below objects.
var looseObject = regexp.MustCompile(`^[0-9a-f]{2}/([0-9a-f]{38}|[0-9a-f]{62})$`)

// Inspect walks through the repository. Files that vanish meanwhile are left out.
func (r *Repo) Inspect(ctx context.Context) (Info, error) {
	var i Info
	packs := map[string]uint64{} // size by name without suffix
	marks := map[string]string{} // .keep or .mtimes
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
		i.file(rel, uint64(info.Size()), packs, marks) //nolint:gosec // never negative
		return nil
	})
	if err != nil {
		return Info{}, fmt.Errorf("inspect repository: %w", err)
	}
	for name, mark := range marks {
		size, ok := packs[name]
		switch {
		case ok && mark == ".keep":
			i.Keeps, i.KeepSize = i.Keeps+1, i.KeepSize+size
		case ok:
			i.Crufts, i.CruftSize = i.Crufts+1, i.CruftSize+size
		}
	}
	r.readAlternates(&i)
	return i, nil
}

// file counts one file.
func (i *Info) file(rel string, size uint64, packs map[string]uint64, marks map[string]string) {
	i.Size += size
	if rel == "packed-refs" {
		i.PackedRefsSize = size
	}
	if strings.HasPrefix(rel, "refs/") && !strings.HasSuffix(rel, ".lock") {
		i.LooseRefs++
	}
	object, ok := strings.CutPrefix(rel, "objects/")
	if !ok {
		return
	}
	ext := filepath.Ext(object)
	name := strings.TrimSuffix(object, ext)
	switch {
	case looseObject.MatchString(object):
		i.LooseObjects, i.ObjectsSize = i.LooseObjects+1, i.ObjectsSize+size
	case ext == ".pack":
		i.Packs, i.ObjectsSize, packs[name] = i.Packs+1, i.ObjectsSize+size, size
	case ext == ".rev":
		i.ReverseIndexes++
	case ext == ".keep" || ext == ".mtimes":
		marks[name] = ext
	case len(object) > 3 && object[2] == '/':
		i.Garbage++
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
