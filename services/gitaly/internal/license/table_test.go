package license

import (
	"slices"
	"testing"

	"github.com/google/licensecheck"
)

// TestTable: every row is a license that the scanner knows.
func TestTable(t *testing.T) {
	t.Parallel()
	if _, err := usual(); err != nil {
		t.Fatal(err)
	}
	all := licensecheck.BuiltinLicenses()
	for id, l := range table {
		if !slices.ContainsFunc(all, func(b licensecheck.License) bool { return b.ID == id }) || l.Name == "" || l.URL == "" {
			t.Errorf("%s is not known, or not complete", id)
		}
	}
	want := License{ShortName: "gpl-2.0", Name: "GNU General Public License v2.0 only", Nickname: "GNU GPLv2",
		URL: "https://www.gnu.org/licenses/old-licenses/gpl-2.0-standalone.html"}
	if got := known("GPL-2.0"); got != want {
		t.Errorf("known = %+v, want %+v", got, want)
	}
}
