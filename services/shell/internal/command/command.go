// Package command reads what an SSH user typed: it turns the exec string of a
// session into one of the documented verbs with its arguments
// (wire/gitlab-shell.md §3, security baseline S6). It decides what is a command,
// never who may run it.
package command

import (
	"errors"
	"strings"
	"unicode"
)

// ErrDisallowed is the error for a known verb with arguments that it does not
// take. Its text is shown to the user.
var ErrDisallowed = errors.New("Disallowed command") //nolint:staticcheck // the user reads it as it is

// Name is a verb that the server knows.
type Name string

// The verbs of wire/gitlab-shell.md §3 that this server runs.
const (
	Discover      Name = "discover"
	UploadPack    Name = "git-upload-pack"
	ReceivePack   Name = "git-receive-pack"
	UploadArchive Name = "git-upload-archive"

	LFSAuthenticate Name = "git-lfs-authenticate"
	PersonalToken   Name = "personal_access_token"
	RecoveryCodes   Name = "2fa_recovery_codes"
	VerifyOTP       Name = "2fa_verify"
)

// Repository reports whether the verb is about one repository: those are what a
// login that is bound to a group may use (wire/gitlab-shell.md §3).
func (n Name) Repository() bool {
	switch n {
	case UploadPack, ReceivePack, UploadArchive, LFSAuthenticate:
		return true
	}
	return false
}

// Command is a command line that was understood.
type Command struct {
	// Name is the verb.
	Name Name
	// Repository is the repository as the user wrote it, of the git verbs only.
	Repository string
	// Args are the operation of git-lfs-authenticate, "download" or "upload", and
	// everything behind personal_access_token.
	Args []string
}

// UnknownError is the error for a line whose first word is no verb.
type UnknownError struct {
	// Line is the whole line, as it came.
	Line string
}

// Error says what the line was; the text is shown to the user.
func (e *UnknownError) Error() string { return "Unknown command: " + e.Line }

// Parse reads a command line. An empty one is the discover command. The error is
// ErrSyntax, ErrDisallowed or an *UnknownError.
func Parse(line string) (Command, error) {
	words, err := split(line)
	if err != nil {
		return Command{}, err
	}
	if len(words) > 1 && words[0] == "git" {
		words = append([]string{"git-" + words[1]}, words[2:]...)
	}
	if len(words) == 0 {
		return Command{Name: Discover}, nil
	}
	name, args := Name(words[0]), words[1:]
	switch name {
	case Discover, RecoveryCodes, VerifyOTP:
		return Command{Name: name}, nil
	case PersonalToken:
		return Command{Name: name, Args: args}, nil
	case LFSAuthenticate: // clients of old put the object's id behind
		if len(args) < 2 || !validRepository(args[0]) || args[1] != "download" && args[1] != "upload" {
			return Command{Name: name}, ErrDisallowed
		}
		return Command{Name: name, Repository: args[0], Args: args[1:2]}, nil
	case UploadPack, ReceivePack, UploadArchive:
		if len(args) != 1 || !validRepository(args[0]) {
			return Command{Name: name}, ErrDisallowed
		}
		return Command{Name: name, Repository: args[0]}, nil
	default:
		return Command{}, &UnknownError{Line: line}
	}
}

// validRepository reports whether an argument can be a repository at all. What it
// names is for the API to say; an option or a control character never gets there.
func validRepository(arg string) bool {
	return !strings.HasPrefix(arg, "-") && strings.IndexFunc(arg, unicode.IsControl) < 0
}
