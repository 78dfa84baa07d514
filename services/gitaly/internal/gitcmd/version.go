package gitcmd

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a git version.
type Version struct{ Major, Minor, Patch int }

// MinVersion is the oldest git that is known to work (Debian 12).
var MinVersion = Version{2, 39, 0} //nolint:gochecknoglobals // a constant

// ParseVersion reads the output of "git version".
func ParseVersion(out string) (Version, error) {
	text, found := strings.CutPrefix(strings.TrimSpace(out), "git version ")
	number, _, _ := strings.Cut(text, " ")
	parts := strings.SplitN(number, ".", 4)
	if !found || len(parts) < 2 {
		return Version{}, fmt.Errorf("cannot read git version %q", out)
	}
	var v Version
	for i, dst := range []*int{&v.Major, &v.Minor, &v.Patch} {
		if i >= len(parts) {
			break
		}
		digits, _, _ := strings.Cut(parts[i], "-")
		n, err := strconv.Atoi(digits)
		if err != nil && i < 2 {
			return Version{}, fmt.Errorf("cannot read git version %q", out)
		}
		*dst = n
	}
	return v, nil
}

// AtLeast reports whether v is w or newer.
func (v Version) AtLeast(w Version) bool {
	if v.Major != w.Major {
		return v.Major > w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor > w.Minor
	}
	return v.Patch >= w.Patch
}

// newer are settings that take a newer git than MinVersion. What else newer versions
// can, such as skipping hidden references as they read packed-refs (2.42) or updating
// many references in one go (2.50), they do of themselves.
var newer = []struct { //nolint:gochecknoglobals // a constant
	since Version
	Config
}{
	// A clone takes whole runs of objects from all packs of a multi-pack-index instead of
	// from one. 2.44 has it, 2.47 its corrections; before that the value is an error.
	{Version{2, 47, 0}, Config{"pack.allowPackReuse", "multi"}},
}

// config returns the settings of newer that this version takes.
func (v Version) config() []Config {
	var c []Config
	for _, n := range newer {
		if v.AtLeast(n.since) {
			c = append(c, n.Config)
		}
	}
	return c
}

// String returns the dotted form.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }
