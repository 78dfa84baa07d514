package front

import (
	"errors"
	"net/url"
	"path"
	"strings"
)

// errBadPath is the error of a request path that two readers could understand
// differently.
var errBadPath = errors.New("ambiguous or malformed path")

// cleanPath returns the one form of an escaped request path that is routed on and
// forwarded: "//" and dot segments collapsed, escapes only where they are needed,
// a final slash kept. A segment that hides a separator together with a dot segment
// ("%2F..") or a NUL has no clean form (security-baseline.md H4).
func cleanPath(escaped string) (string, error) {
	if !strings.HasPrefix(escaped, "/") {
		return "", errBadPath
	}
	var kept []string
	trailing := false
	for segment := range strings.SplitSeq(escaped[1:], "/") {
		plain, err := url.PathUnescape(segment)
		if err != nil || strings.ContainsRune(plain, 0) {
			return "", errBadPath
		}
		trailing = plain == "" || plain == "." || plain == ".."
		switch {
		case plain == "..":
			kept = kept[:max(len(kept)-1, 0)]
		case trailing:
		case hidesDots(plain):
			return "", errBadPath
		default:
			kept = append(kept, url.PathEscape(plain))
		}
	}
	clean := "/" + strings.Join(kept, "/")
	if trailing && clean != "/" {
		clean += "/"
	}
	return clean, nil
}

func hidesDots(plain string) bool {
	for part := range strings.FieldsFuncSeq(plain, isSlash) {
		if part == "." || part == ".." {
			return true
		}
	}
	return false
}

func isSlash(r rune) bool { return r == '/' || r == '\\' }

// internalPrefix is where the internal API lives below the relative root. No
// public path begins so.
const internalPrefix = "/api/v4/internal"

// maxUnescape bounds how often a path is decoded in search of the internal API.
const maxUnescape = 8

// namesInternal reports whether any server could read the escaped path as one of
// the internal API: after decoding it any number of times, with and without
// cleaning it, in any case of letters, with either kind of slash, below the
// relative root or not (security-baseline.md T4). A path that is still encoded
// after eight rounds counts as one.
func namesInternal(escaped, root string) bool {
	p := escaped
	for range maxUnescape {
		if readsInternal(p, root) {
			return true
		}
		next := unescapeLoosely(p)
		if next == p {
			return false
		}
		p = next
	}
	return true
}

func readsInternal(p, root string) bool {
	p = strings.ToLower(strings.ReplaceAll(p, `\`, "/"))
	single := p
	for strings.Contains(single, "//") {
		single = strings.ReplaceAll(single, "//", "/")
	}
	for _, form := range []string{single, path.Clean("/" + p)} {
		below := strings.TrimPrefix(form, strings.ToLower(root))
		if strings.HasPrefix(form, internalPrefix) || strings.HasPrefix(below, internalPrefix) {
			return true
		}
	}
	return false
}

// unescapeLoosely decodes each valid %XX once and leaves the rest.
func unescapeLoosely(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if plain, err := url.PathUnescape(s[i : i+3]); err == nil {
				b.WriteString(plain)
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// gitSuffix splits the clean escaped path of something inside a repository,
// "/<anything>.git/<rest>", at the first such place. It reports false for paths
// outside repositories: pages below "/-/" may name files that end in ".git".
func gitSuffix(clean string) (rest string, ok bool) {
	i := strings.Index(clean, ".git/")
	// The name before ".git" is not empty.
	if i < 2 || clean[i-1] == '/' || strings.Contains(clean[:i], "/-/") {
		return "", false
	}
	return clean[i+len(".git/"):], true
}
