package store

import (
	"crypto/md5" //nolint:gosec // the protocol has it, and object storage tags objects with it
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
)

func hashes() map[string]func() hash.Hash {
	return map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}
}

// sums computes check sums of what is written to it.
type sums struct {
	by map[string]hash.Hash
	io.Writer
}

// newSums returns the named sums, all of them for no name.
func newSums(names []string) (*sums, error) {
	known := hashes()
	if len(names) == 0 {
		names = slices.Collect(maps.Keys(known))
	}
	s := &sums{by: map[string]hash.Hash{}}
	var all []io.Writer
	for _, name := range names {
		if known[name] == nil {
			return nil, fmt.Errorf("rails-api asks for the unknown check sum %q", name)
		}
		if s.by[name] == nil {
			s.by[name] = known[name]()
			all = append(all, s.by[name])
		}
	}
	s.Writer = io.MultiWriter(all...)
	return s, nil
}

// hex returns each sum in hexadecimal.
func (s *sums) hex() map[string]string {
	out := make(map[string]string, len(s.by))
	for name, h := range s.by {
		out[name] = hex.EncodeToString(h.Sum(nil))
	}
	return out
}
