// Package license recognises the license that a repository's files are under.
package license

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/licensecheck"

	"gitsplit/kit/errs"
	"gitsplit/services/gitaly/internal/object"
)

// License is a license, and where it was found. The zero value is none.
type License struct {
	ShortName string // SPDX identifier in lower case, or "other"
	Name      string
	URL       string
	Nickname  string // what people call it, if that differs
	Path      string // of the file
}

// candidate are names of files that hold a license.
var candidate = regexp.MustCompile(`(?i)^([^/]+[-_. ])?(licen[cs]es?|copying|copyright|unlicense|legal)([-_. ][^/]*)?$`)

const (
	maxFiles   = 8       // that are read
	maxSize    = 1 << 20 // of a file, in bytes; licenses are far smaller
	minPercent = 75      // of a text that must belong to known licenses
)

// Find looks at the files of a revision's root. Of several it takes the one that is
// most of all a license; a file that only looks like one is "other". A revision that is
// not there has none.
func Find(objects *object.Reader, revision string) (License, error) {
	root, err := objects.RootTree(revision)
	if errs.KindOf(err) == errs.NotFound {
		return License{}, nil
	}
	if err != nil {
		return License{}, err
	}
	entries, err := objects.Tree(root, "")
	if err != nil {
		return License{}, err
	}
	var found License
	best, read := 0.0, 0
	for _, e := range entries {
		if !e.Regular() || !candidate.MatchString(e.Path) {
			continue
		}
		if read++; read > maxFiles {
			break
		}
		id, percent, err := scan(objects, e.OID)
		if err != nil {
			return License{}, err
		}
		switch {
		case id != "" && percent > best:
			found, best = known(id), percent
			found.Path = e.Path
		case found == License{}:
			found = License{ShortName: "other", Name: "Other", Nickname: "LICENSE", Path: e.Path}
		}
	}
	return found, nil
}

// scan returns the license that takes most of a file, and how much of the file known
// licenses take; "" if that is too little.
func scan(objects *object.Reader, oid string) (id string, percent float64, err error) {
	info, err := objects.Info(oid)
	if err != nil || info.Size > maxSize {
		return "", 0, err
	}
	_, text, err := objects.Contents(oid, "blob")
	if err != nil {
		return "", 0, err
	}
	scanner, err := usual()
	if err != nil {
		return "", 0, err
	}
	covered := scanner.Scan(text)
	if covered.Percent < minPercent {
		return "", 0, nil
	}
	longest := 0
	for _, m := range covered.Match {
		if n := m.End - m.Start; n > longest {
			id, longest = m.ID, n
		}
	}
	return id, covered.Percent, nil
}

// usual is made when the first repository is looked at: of the licenses in the table
// only, since all 200 would take a second and 100 MB.
var usual = sync.OnceValues(func() (*licensecheck.Scanner, error) {
	all := slices.DeleteFunc(licensecheck.BuiltinLicenses(), func(l licensecheck.License) bool {
		_, ok := table[l.ID]
		return !ok
	})
	scanner, err := licensecheck.NewScanner(all)
	if err != nil {
		return nil, fmt.Errorf("read licenses: %w", err)
	}
	return scanner, nil
})

// known completes a license by its SPDX identifier.
func known(id string) License {
	facts := table[id]
	facts.ShortName = strings.ToLower(id)
	return facts
}
