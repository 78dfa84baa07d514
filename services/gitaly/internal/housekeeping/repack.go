package housekeeping

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gitsplit/services/gitaly/internal/gitcmd"
	"gitsplit/services/gitaly/internal/storage"
)

// How a repack leaves running pushes and fetches alone:
//
//   - The packs that it replaces are those that were there when the run began. What
//     pushes bring afterwards is not touched, nor are packs with a keep file.
//   - They go after the new packs, the multi-pack-index that no longer names them, and
//     the directory with the new names are on disk. A fetch that has one open reads
//     on; one that misses an object looks at the directory again, as git does.
//   - No object goes because it is old. A push may build on what was advertised to it,
//     and a merge on the branch it has read, and before they have moved their
//     reference another push may delete that branch: then only time tells that nobody
//     needs its objects. So the time of each pack and loose object is set to now
//     before unreachable ones are moved to the cruft pack, which keeps that time for
//     each: they go when they have been in there for the grace period, and were not
//     sent or found reachable again.
//   - Pools keep everything, since their members cannot be asked.
//   - Packs are removed through a handle of the directory that was looked at: a
//     repository that was removed and restored meanwhile has packs of the same names.
//
// A crash leaves new packs beside old ones, which the next run takes in, or temporary
// files, which are swept.

// maxName bounds the output of pack-objects: the name of a pack.
const maxName = 256

func (r *run) repack(ctx context.Context) error {
	switch r.plan.repack {
	case incrementalRepack:
		_, err := r.packLoose(ctx)
		return r.task("packed_objects_incremental", err)
	case geometricRepack:
		return r.task("packed_objects_geometric", r.packGeometric(ctx))
	default:
		return r.task("packed_objects_full", r.packFull(ctx))
	}
}

// packLoose packs all loose objects, reachable or not, and removes them. It returns the
// pack's name, "" when there were none. Objects that are in another pack too are
// packed all the same: they may have come back out of the cruft pack, with a new time.
func (r *run) packLoose(ctx context.Context) (string, error) {
	name, err := r.packObjects(ctx, nil, "--pack-loose-unreachable")
	if err != nil {
		return "", err
	}
	return name, r.dropLoose(ctx)
}

// dropLoose removes the loose objects that are in packs, whose names are durable.
func (r *run) dropLoose(ctx context.Context) error {
	if err := r.sync(); err != nil {
		return err
	}
	return r.background(ctx, "prune-packed", "--quiet")
}

// packGeometric merges the smallest packs and the loose objects so that the sizes of
// the packs form a geometric sequence again.
func (r *run) packGeometric(ctx context.Context) error {
	packs, err := r.ordinaryPacks()
	if err != nil {
		return err
	}
	split := splitPacks(packs)
	var in bytes.Buffer
	for i, p := range packs {
		if i >= split {
			in.WriteString("^")
		}
		in.WriteString(p.Name + ".pack\n")
	}
	name, err := r.packObjects(ctx, &in, "--stdin-packs", "--unpacked")
	if err != nil {
		return err
	}
	if err := r.dropLoose(ctx); err != nil {
		return err
	}
	var replaced []string
	for _, p := range packs[:split] {
		replaced = append(replaced, p.Name)
	}
	preferred := name
	if split < len(packs) {
		preferred = packs[len(packs)-1].Name
	}
	return r.replace(ctx, replaced, preferred, name)
}

// packFull packs everything anew: what is reachable into one pack, the rest into a
// cruft pack, from which goes what has been in there for the grace period.
func (r *run) packFull(ctx context.Context) error {
	loose, err := r.packLoose(ctx)
	if err != nil {
		return err
	}
	if err := r.touchPacks(loose); err != nil {
		return err
	}
	flags := []string{"--all", "--reflog", "--indexed-objects", "--keep-true-parents", "--delta-islands"}
	if r.repo.IsPool() {
		flags = append(flags, "--keep-unreachable")
	}
	reachable, err := r.packObjects(ctx, nil, flags...)
	if err != nil {
		return err
	}
	var kept, replaced []string
	for _, p := range r.packs() {
		if p.Keep {
			kept = append(kept, p.Name)
		} else {
			replaced = append(replaced, p.Name)
		}
	}
	if loose != "" && !slices.Contains(replaced, loose) {
		replaced = append(replaced, loose)
	}
	cruft := ""
	if !r.repo.IsPool() {
		if cruft, err = r.packCruft(ctx, append(kept, reachable), replaced); err != nil {
			return err
		}
	}
	if err := r.replace(ctx, replaced, reachable, reachable, cruft); err != nil {
		return err
	}
	return storage.StampFullRepack(r.repo.Dir, r.now)
}

// packCruft packs what is in the replaced packs but not in those that stay.
func (r *run) packCruft(ctx context.Context, stay, replaced []string) (string, error) {
	var in bytes.Buffer
	for _, name := range stay {
		if name != "" {
			in.WriteString(name + ".pack\n")
		}
	}
	for _, name := range replaced {
		if !slices.Contains(stay, name) {
			in.WriteString("-" + name + ".pack\n")
		}
	}
	name, err := r.packObjects(ctx, &in, "--cruft", "--cruft-expiration="+r.expiry())
	return name, r.task("packed_objects_cruft", err)
}

// expiry is the time before which an object must have been found unreachable to go.
func (r *run) expiry() string {
	return strconv.FormatInt(r.now.Add(-r.plan.grace).Unix(), 10)
}

// packObjects makes a pack, durable but for its name, and returns that without a
// suffix; "" when there was nothing to pack.
func (r *run) packObjects(ctx context.Context, stdin *bytes.Buffer, flags ...string) (string, error) {
	s := gitcmd.Spec{
		Name: "pack-objects", Flags: append(flags, "--quiet", "--local", "--non-empty", "--delta-base-offset"),
		Args: []string{filepath.Join(r.repo.Dir, "objects/pack/pack")}, Config: islands(r.repo.IsPool()), Background: true,
	}
	if stdin != nil {
		s.Stdin = stdin
	}
	out, err := r.o.Git.Output(ctx, r.git, s, maxName)
	if hash := strings.TrimSpace(string(out)); err == nil && hash != "" {
		return "pack-" + hash, nil
	}
	return "", err
}

// islands keep objects of branches and tags from being deltas against what only other
// references have, so that a clone can take them as they are (wire/gitaly.md §15).
func islands(pool bool) []gitcmd.Config {
	if pool {
		return []gitcmd.Config{{Key: "pack.island", Value: "refs/remotes/origin/he(a)ds"},
			{Key: "pack.island", Value: "refs/remotes/origin/t(a)gs"}, {Key: "pack.islandCore", Value: "a"}}
	}
	return []gitcmd.Config{{Key: "pack.island", Value: "r(e)fs/heads"},
		{Key: "pack.island", Value: "r(e)fs/tags"}, {Key: "pack.islandCore", Value: "e"}}
}

// replace makes the new packs known and removes those that they replace. The
// multi-pack-index is written over the packs from the beginning of the run and our
// own: together they have, of each commit, all objects, which its bitmap needs.
func (r *run) replace(ctx context.Context, replaced []string, preferred string, made ...string) error {
	names := map[string]bool{}
	for _, p := range r.packs() {
		names[p.Name] = true
	}
	for _, name := range replaced {
		delete(names, name)
	}
	for _, name := range made {
		if name != "" {
			names[name] = true
		}
	}
	if err := r.sync(); err != nil {
		return err
	}
	if err := r.writeIndex(ctx, names, preferred); err != nil {
		return err
	}
	if err := r.sync(); err != nil {
		return err
	}
	for _, name := range replaced {
		if !names[name] {
			if err := r.removePack(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeIndex writes the multi-pack-index over the packs.
func (r *run) writeIndex(ctx context.Context, names map[string]bool, preferred string) error {
	if len(names) == 0 {
		err := r.packDir.Remove("multi-pack-index")
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	var in bytes.Buffer
	for name := range names {
		in.WriteString(name + ".idx\n")
	}
	flags := []string{"--stdin-packs", "--no-progress"}
	if preferred != "" {
		flags = append(flags, "--preferred-pack="+preferred+".idx")
	}
	if r.plan.bitmap {
		flags = append(flags, "--bitmap")
	}
	err := r.o.Git.Run(ctx, r.git, gitcmd.Spec{Name: "multi-pack-index write", Flags: flags, Stdin: &in, Background: true})
	if r.plan.bitmap {
		_ = r.task("written_bitmap", err)
	}
	return r.task("written_multi_pack_index", err)
}
