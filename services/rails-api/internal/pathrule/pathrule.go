// Package pathrule holds the rules of the words that make up a path: user names,
// group paths and project paths, and of the names people give to these. It is the
// one place for them (security-baseline V1).
package pathrule

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxLength is the longest segment or name in bytes.
const maxLength = 255

// The texts are GitLab's; they stand beside the field they are about.
var (
	ErrCharacters = errors.New("can contain only letters, digits, '_', '-' and '.'. Cannot start with '-', end in '.git' or end in '.atom'")
	ErrLength     = errors.New("is too long (maximum is 255 characters)")
	ErrBlank      = errors.New("can't be blank")
	ErrReserved   = errors.New("is a reserved name")
	ErrName       = errors.New("can contain only printable characters")
)

// Namespace checks the path of a user or of a group; top says that it stands at
// the beginning of URLs, where words with another meaning are refused.
func Namespace(path string, top bool) error {
	if err := segment(path); err != nil {
		return err
	}
	if top && reserved(path, topWords()) {
		return ErrReserved
	}
	return nil
}

// Project checks the path of a project below its namespace.
func Project(path string) error {
	if err := segment(path); err != nil {
		return err
	}
	if reserved(path, projectWords()) {
		return ErrReserved
	}
	return nil
}

// Name checks what people call a thing: any printable text.
func Name(name string) error {
	switch {
	case strings.TrimSpace(name) == "":
		return ErrBlank
	case len(name) > maxLength:
		return ErrLength
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return ErrName
	}
	return nil
}

func segment(s string) error {
	switch {
	case s == "":
		return ErrBlank
	case len(s) > maxLength:
		return ErrLength
	case strings.ContainsFunc(s, forbidden), s[0] == '-', s[0] == '.', badSuffix(strings.ToLower(s)):
		return ErrCharacters
	}
	return nil
}

func forbidden(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' || r == '.')
}

func badSuffix(s string) bool {
	return slices.ContainsFunc([]string{".git", ".lock", ".wiki", ".design", ".atom", "."}, func(end string) bool { return strings.HasSuffix(s, end) })
}

func reserved(s string, words []string) bool { return slices.Contains(words, strings.ToLower(s)) }

// topWords are first segments of URLs that the web and the API use themselves.
func topWords() []string {
	return []string{
		"admin", "api", "apple-touch-icon.png", "assets", "dashboard", "deploy.html", "explore", "favicon.ico", "files", "groups",
		"health_check", "help", "import", "jwt", "login", "oauth", "profile", "projects", "public", "robots.txt", "s", "search",
		"sitemap", "sitemap.xml", "slash-command-logo.png", "snippets", "unsubscribes", "uploads", "users", "v2",
	}
}

// projectWords are segments that mean a page when they follow a namespace or a project.
func projectWords() []string {
	return []string{
		"badges", "blame", "blob", "builds", "commits", "create", "create_dir", "edit", "files", "find_file", "gitlab-lfs", "info",
		"new", "preview", "raw", "refs", "tree", "update", "wikis",
	}
}
