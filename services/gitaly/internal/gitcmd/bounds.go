package gitcmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gitsplit/services/gitaly/internal/process"
)

// Bounds are what a git process and each of its children may use; 0 is no bound.
type Bounds struct {
	Memory  int64         // bytes allocated; packs that are mapped into memory do not count
	CPU     time.Duration // of a process that answers a question
	PushCPU time.Duration // of one that takes a push in
	// Place returns the control group of a process that belongs to key: the name of
	// its repository, or its arguments. Nil is none.
	Place func(key string) (*process.Cgroup, error)
}

// bulk are the sub-commands whose work grows with the repository or with what is sent,
// and not with a question, and those that live as long as there are questions: no CPU
// time is too much for them.
var bulk = map[string]bool{ //nolint:gochecknoglobals // a constant
	"upload-pack": true, "upload-archive": true, "archive": true, "pack-objects": true, "fetch": true, "push": true, "clone": true,
	"bundle create": true, "fast-export": true, "fsck": true, "repack": true, "index-pack": true, "unpack-objects": true, "cat-file": true,
	"pack-refs": true, "update-ref": true, "commit-graph write": true, "multi-pack-index write": true, "prune": true, "prune-packed": true,
	"format-patch": true,
}

// grows reports whether a run has as much to do as the repository is large.
func (s Spec) grows() bool {
	return bulk[s.Name] || s.Background || s.Name == "rev-list" && slices.Contains(s.Flags, "--objects")
}

// bound sets a process's bounds.
func (f *Factory) bound(o *process.Options, repo *Repo, s Spec) error {
	b := f.o.Bounds
	o.Memory = b.Memory
	switch {
	case s.Name == "receive-pack":
		o.CPU = b.PushCPU
	case !s.grows():
		o.CPU = b.CPU
	}
	if b.Place == nil {
		return nil
	}
	key := strings.Join(o.Args, "/")
	if repo != nil && repo.Name != "" {
		key = repo.Name
	}
	place, err := b.Place(key)
	if err != nil {
		return fmt.Errorf("git %s: %w", s.Name, err)
	}
	o.Cgroup = place
	return nil
}
