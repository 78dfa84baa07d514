package housekeeping

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"gitsplit/services/gitaly/internal/storage"
)

// geometricFactor is by how much a pack has more objects than the next smaller one.
const geometricFactor = 2

// touchPacks makes now the time of all objects that are not in a cruft pack: from
// now on they may count as unreachable. loose is the pack of those that were loose.
func (r *run) touchPacks(loose string) error {
	var names []string
	if loose != "" {
		names = append(names, loose)
	}
	for _, p := range r.packs() {
		if !p.Cruft {
			names = append(names, p.Name)
		}
	}
	for _, name := range names {
		if err := r.packDir.Chtimes(name+".pack", r.now, r.now); err != nil {
			return err
		}
	}
	return nil
}

// packs are the packs that were complete when the run began.
func (r *run) packs() []storage.Pack {
	return slices.DeleteFunc(slices.Clone(r.info.Packs), func(p storage.Pack) bool { return !p.Indexed })
}

// removePack removes a pack, first what makes git look for the rest. One that a push
// is about to use again has got a keep file by now, and stays.
func (r *run) removePack(name string) error {
	if _, err := r.packDir.Lstat(name + ".keep"); err == nil {
		return nil
	}
	for _, suffix := range []string{".idx", ".pack", ".rev", ".bitmap", ".mtimes"} {
		if err := r.packDir.Remove(name + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove replaced pack: %w", err)
		}
	}
	return nil
}

// sync makes the names of packs durable; git has done so for what is in them.
func (r *run) sync() error {
	dir, err := r.packDir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// countedPack is a pack with the number of its objects.
type countedPack struct {
	storage.Pack
	objects uint64
}

// ordinaryPacks returns the packs that may be merged, the smallest first.
func (r *run) ordinaryPacks() ([]countedPack, error) {
	var out []countedPack
	for _, p := range r.packs() {
		if p.Cruft || p.Keep {
			continue
		}
		n, err := r.countObjects(p.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, countedPack{p, n})
	}
	slices.SortFunc(out, func(a, b countedPack) int { return cmp.Compare(a.objects, b.objects) })
	return out, nil
}

// countObjects reads the number of objects in the pack's own head: signature, version,
// number, of four bytes each.
func (r *run) countObjects(name string) (uint64, error) {
	f, err := r.packDir.Open(name + ".pack")
	if err != nil {
		return 0, err
	}
	var head [12]byte
	_, err = io.ReadFull(f, head[:])
	return uint64(binary.BigEndian.Uint32(head[8:])), errors.Join(err, f.Close())
}

// splitPacks returns how many of the packs, the smallest first, are to be merged so
// that each pack has at least geometricFactor times the objects of the one before.
func splitPacks(packs []countedPack) int {
	split := 0
	for i := len(packs) - 1; i > 0; i-- {
		if packs[i].objects < geometricFactor*packs[i-1].objects {
			split = i + 1
			break
		}
	}
	var merged uint64
	for _, p := range packs[:split] {
		merged += p.objects
	}
	for split > 0 && split < len(packs) && packs[split].objects < geometricFactor*merged {
		merged += packs[split].objects
		split++
	}
	return split
}
