package object

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidPath reports whether git lets a path into a tree: no empty component, none
// that is "." or "..", and none that some file system takes for .git, whatever ours
// does (git's verify_path with core.protectHFS and core.protectNTFS). A symbolic link
// must not stand where git expects .gitmodules.
func ValidPath(path string, symlink bool) bool {
	if strings.ContainsRune(path, 0) {
		return false
	}
	for component := range strings.SplitSeq(path, "/") {
		if component == "" || component == "." || component == ".." ||
			hfs(component) == ".git" || ntfs(component) == ".git" || ntfs(component) == "git~1" {
			return false
		}
		if symlink && (hfs(component) == ".gitmodules" || ntfsModules(component)) {
			return false
		}
		for i, c := range component { // NTFS takes a backslash for a slash
			if rest := component[i+1:]; c == '\\' && (ntfs(rest) == ".git" || ntfs(rest) == "git~1" || symlink && ntfsModules(rest)) {
				return false
			}
		}
	}
	return true
}

// hfs folds a name as HFS+ does: letter case and characters that are not seen do not
// count. What is not UTF-8 ends the name, as it does for git.
func hfs(name string) string {
	var b strings.Builder
	for len(name) > 0 {
		r, size := utf8.DecodeRuneInString(name)
		name = name[size:]
		switch {
		case r == utf8.RuneError && size == 1, r == 0xfffe, r == 0xffff:
			return b.String()
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
		case r < utf8.RuneSelf:
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ntfs folds a name as NTFS does: letter case, trailing dots and spaces, and what
// follows a colon do not count; a backslash ends it.
func ntfs(name string) string {
	if i := strings.IndexAny(name, `\:`); i >= 0 {
		name = name[:i]
	}
	return strings.ToLower(strings.TrimRight(name, ". "))
}

// ntfsModules reports whether NTFS may call .gitmodules so: by its name, by gitmod~1 to
// gitmod~4, or by the hashed form that comes after those.
func ntfsModules(component string) bool {
	name := ntfs(component)
	short, number, found := strings.Cut(name, "~")
	switch {
	case name == ".gitmodules":
		return true
	case !found || len(name) != 8 || number == "" || number[0] == '0' || strings.Trim(number, "0123456789") != "":
		return false
	case short == "gitmod":
		return number <= "4"
	}
	return len(short) >= 2 && short == "gi7eba"[:len(short)]
}
