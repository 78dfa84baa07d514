package front

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestCleanPath(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, in, want string }{
		{"root", "/", "/"},
		{"plain", "/group/app.git/info/refs", "/group/app.git/info/refs"},
		{"final slash stays", "/group/app/", "/group/app/"},
		{"double slashes", "//group///app.git/info//refs", "/group/app.git/info/refs"},
		{"dot segments", "/a/./b/../c", "/a/c"},
		{"encoded dot segments", "/a/%2e/b/%2E%2e/c", "/a/c"},
		{"above the root", "/../../a", "/a"},
		{"needless escapes", "/group/app%2egit/%69nfo/refs", "/group/app.git/info/refs"},
		{"encoded slash in a project id", "/api/v4/projects/group%2fapp", "/api/v4/projects/group%2Fapp"},
		{"bytes that are no text", "/a%FF", "/a%FF"},
		{"last segment climbs", "/a/b/..", "/a/"},
		{"three dots are a name", "/.../a", "/.../a"},
		{"hidden climb", "/files/..%2f..%2fetc", ""},
		{"hidden climb with a backslash", `/files/a%5c..%5cb`, ""},
		{"hidden dot", "/files/.%2fx", ""},
		{"nul", "/a%00b", ""},
		{"no slash first", "a/b", ""},
		{"empty", "", ""},
		{"broken escape", "/a%zz", ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := cleanPath(tc.in)
			if got != tc.want || (err != nil) != (tc.want == "") {
				t.Errorf("cleanPath(%q) = %q, %v; want %q", tc.in, got, err, tc.want)
			}
		})
	}
}

// internalShapes are ways to write a path of the internal API.
var internalShapes = []string{
	"/api/v4/internal", "/api/v4/internal/", "/api/v4/internal/allowed", "/api/v4/internal.json", "/api/v4/internal;x/check",
	"//api/v4/internal/check", "/api//v4///internal/check", "/./api/v4/internal/check", "/x/../api/v4/internal/check",
	"/api/v4/internal/../version", "/api/v4/x/%2e%2e/internal/check", "/api/v4/x/.%2E/internal/check",
	"/api/v4/%69nternal/check", "/api/v4/%49nternal/check", "/API/V4/INTERNAL/check", "/api/v4/Internal/check",
	"/api%2Fv4%2Finternal/check", "/api/v4%2finternal%2fcheck", "%2fapi/v4/internal/check", "/%2e/api/v4/internal/check",
	"/api/v4/%2569nternal/check", "/%25%32%66api/v4/internal", "/api/v4/projects/a%2F..%2F..%2F..%2Fv4%2Finternal/x",
	"/api/v4/projects/a%252F..%252F..%252F..%252Fv4/internal/x", `/api\v4\internal/check`, "/api%5Cv4%5Cinternal",
	"/a%2fb/../api/v4/internal/check", "/gitlab/api/v4/internal/check", "/gitlab//api/v4/internal", "/gitlab/x/..%2fapi/v4/internal",
	"/%252525252525252525252569",
}

func TestNamesInternal(t *testing.T) {
	t.Parallel()
	for _, shape := range internalShapes {
		if !namesInternal(shape, "/gitlab") {
			t.Errorf("namesInternal(%q) = false", shape)
		}
	}
	for _, public := range []string{
		"/", "/api/v4/version", "/api/v4/integrations", "/api/v4/projects/1/internal", "/group/api/v4/internal.git/info/refs",
		"/api/v5/internal", "/api/v4", "/api/v4/projects/internal%2Fapp", "/100%", "/a%zzb",
	} {
		if namesInternal(public, "/gitlab") {
			t.Errorf("namesInternal(%q) = true", public)
		}
	}
}

func TestGitSuffix(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, in, rest string
		ok             bool
	}{
		{"info/refs", "/g/app.git/info/refs", "info/refs", true},
		{"nothing below", "/g/app.git/", "", true},
		{"the repository itself", "/g/app.git", "", false},
		{"without .git", "/g/app/info/refs", "", false},
		{"no name", "/g/.git/info/refs", "", false},
		{"no name at all", "/.git/info/refs", "", false},
		{"first of two", "/g/a.git/b.git/info/refs", "b.git/info/refs", true},
		{"page about a file", "/g/app/-/blob/main/x.git/y", "", false},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rest, ok := gitSuffix(tc.in)
			if rest != tc.rest || ok != tc.ok {
				t.Errorf("gitSuffix(%q) = %q, %v; want %q, %v", tc.in, rest, ok, tc.rest, tc.ok)
			}
		})
	}
}

// FuzzCleanPath checks that a clean path is clean however it is read: cleaning it
// again changes nothing, and decoding it brings up no dot segment.
func FuzzCleanPath(f *testing.F) {
	for _, s := range append(internalShapes, "/a/../b", "/%2e%2e/a", "/a%2f..%2fb", "/a%00", "//") {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		clean, err := cleanPath(in)
		if err != nil {
			return
		}
		if again, err := cleanPath(clean); err != nil || again != clean {
			t.Fatalf("cleanPath(%q) = %q, and again %q, %v", in, clean, again, err)
		}
		plain, err := url.PathUnescape(clean)
		if err != nil {
			t.Fatalf("cleanPath(%q) = %q: %v", in, clean, err)
		}
		collapsed := plain
		for strings.Contains(collapsed, "//") {
			collapsed = strings.ReplaceAll(collapsed, "//", "/")
		}
		if p := path.Clean(plain); p != "/" && p != strings.TrimSuffix(collapsed, "/") {
			t.Fatalf("cleanPath(%q) = %q, which a server reads as %q", in, clean, p)
		}
		// What the gate lets pass is not internal in the form that is forwarded.
		if !namesInternal(in, "") && strings.HasPrefix(strings.ToLower(path.Clean(plain)), internalPrefix) {
			t.Fatalf("%q passes the gate and is forwarded as %q", in, clean)
		}
	})
}
