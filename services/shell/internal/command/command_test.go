package command_test

import (
	"errors"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"gitsplit/services/shell/internal/command"
)

func TestParse(t *testing.T) {
	t.Parallel()
	fetch := func(repository string) command.Command {
		return command.Command{Name: command.UploadPack, Repository: repository}
	}
	for _, tc := range []struct {
		name, in string
		want     command.Command
	}{
		{"nothing", "", command.Command{Name: command.Discover}},
		{"blanks only", " \t\r\n", command.Command{Name: command.Discover}},
		{"discover", "discover", command.Command{Name: command.Discover}},
		{"discover with words", "discover a b", command.Command{Name: command.Discover}},
		{"nothing before a separator", "; ls", command.Command{Name: command.Discover}},
		{"fetch", "git-upload-pack 'group/app.git'", fetch("group/app.git")},
		{"leading slash is kept", "git-upload-pack /group/app.git", fetch("/group/app.git")},
		{"tilde is kept", "git-upload-pack ~/app.git", fetch("~/app.git")},
		{"joined spelling", "git upload-pack group/app", fetch("group/app")},
		{"push", "git-receive-pack \"a/b\"", command.Command{Name: command.ReceivePack, Repository: "a/b"}},
		{"archive", "git upload-archive 'a/b'", command.Command{Name: command.UploadArchive, Repository: "a/b"}},
		{"LFS", "git-lfs-authenticate a/b download", command.Command{
			Name: command.LFSAuthenticate, Repository: "a/b", Args: []string{"download"}}},
		{"LFS of old clients", "git-lfs-authenticate a/b upload 0123 -x", command.Command{
			Name: command.LFSAuthenticate, Repository: "a/b", Args: []string{"upload"}}},
		{"token", "personal_access_token 'my laptop' api,read_user 30", command.Command{
			Name: command.PersonalToken, Args: []string{"my laptop", "api,read_user", "30"}}},
		{"token without words", "personal_access_token", command.Command{Name: command.PersonalToken, Args: []string{}}},
		{"recovery codes", "2fa_recovery_codes x", command.Command{Name: command.RecoveryCodes}},
		{"OTP", "2fa_verify", command.Command{Name: command.VerifyOTP}},
		{"every blank separates", "git-upload-pack\t\r\n a", fetch("a")},
		{"quoted blank", "git-upload-pack 'a b'", fetch("a b")},
		{"quotes inside a word", `git-upload-pack a"b"'c'd`, fetch("abcd")},
		{"escaped blank", `git-upload-pack a\ b`, fetch("a b")},
		{"backslash in single quotes", `git-upload-pack 'a\b'`, fetch(`a\b`)},
		{"backslash in double quotes", `git-upload-pack "a\"b"`, fetch(`a"b`)},
		{"git's escape of a quote", `git-upload-pack 'a'\''b'`, fetch("a'b")},
		{"no variable", "git-upload-pack $HOME", fetch("$HOME")},
		{"no substitution", "git-upload-pack `id`", fetch("`id`")},
		{"empty word", "git-upload-pack ''", fetch("")},
		{"dropped after ;", "git-upload-pack a; ls", fetch("a")},
		{"dropped after &", "git-upload-pack a&ls (", fetch("a")},
		{"dropped after |", "git-upload-pack a | sh '", fetch("a")},
		{"dropped after <", "git-upload-pack a <x", fetch("a")},
		{"dropped after >", "git-upload-pack a>x", fetch("a")},
		{"quoted separators", "git-upload-pack 'a;b|c'", fetch("a;b|c")},
		{"escaped separator", `git-upload-pack a\;b`, fetch("a;b")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := command.Parse(tc.in)
			if err != nil {
				t.Fatalf("Parse(%q): %v", tc.in, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tc.in, diff)
			}
		})
	}
}

func TestParse_refused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"open single quote", "git-upload-pack 'x", command.ErrSyntax},
		{"open double quote", `git-upload-pack "x`, command.ErrSyntax},
		{"trailing backslash", `git-upload-pack x\`, command.ErrSyntax},
		{"opening parenthesis", "git-upload-pack (x", command.ErrSyntax},
		{"closing parenthesis", "git-upload-pack x)", command.ErrSyntax},
		{"substitution", "git-upload-pack $(id)", command.ErrSyntax},
		{"not UTF-8", "git-upload-pack \xff", command.ErrSyntax},
		{"too long", "git-upload-pack " + strings.Repeat("a", 1<<20), command.ErrSyntax},
		{"no repository", "git-upload-pack", command.ErrDisallowed},
		{"two repositories", "git-receive-pack a b", command.ErrDisallowed},
		{"option", "git-upload-pack --exec=/bin/sh", command.ErrDisallowed},
		{"option and path", "git-upload-pack --strict a", command.ErrDisallowed},
		{"short option", "git-upload-archive -c", command.ErrDisallowed},
		{"quoted option", "git-upload-pack '-x'", command.ErrDisallowed},
		{"LFS without operation", "git-lfs-authenticate a/b", command.ErrDisallowed},
		{"LFS, other operation", "git-lfs-authenticate a/b delete", command.ErrDisallowed},
		{"LFS, option", "git-lfs-authenticate --x download", command.ErrDisallowed},
		{"newline in the path", `git-upload-pack a\nb`, command.ErrDisallowed},
		{"NUL in the path", "git-upload-pack a\x00b", command.ErrDisallowed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := command.Parse(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("Parse(%.60q): got error %v, want %v", tc.in, err, tc.want)
			}
		})
	}
}

func TestParse_unknown(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"ls -la", "git", "git gc", "git-shell", "GIT-UPLOAD-PACK a", "git-upload-packs a", "'git-upload-pack a'",
		"/usr/bin/git-upload-pack a", "sh -c 'git-upload-pack a'", "''", "git git-upload-pack a", "scp -f x",
		"git-lfs-transfer a download",
	} {
		_, err := command.Parse(in)
		unknown, ok := errors.AsType[*command.UnknownError](err)
		if !ok || unknown.Line != in {
			t.Errorf("Parse(%q): got error %v, want unknown command", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "discover", "git-upload-pack 'a/b.git'", `git receive-pack "a\"b"`, "git-upload-archive a; ls", "ls -la",
		"git-upload-pack 'x", "git-upload-pack -x", "git-lfs-authenticate a download x", "personal_access_token a b 3", "git-upload-pack a\x00", "git-upload-pack $(x)", "\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, err := command.Parse(line)
		if err != nil {
			if got.Repository != "" {
				t.Errorf("Parse(%q): repository %q with error %v", line, got.Repository, err)
			}
			return
		}
		if strings.HasPrefix(got.Repository, "-") || strings.IndexFunc(got.Repository, unicode.IsControl) >= 0 {
			t.Errorf("Parse(%q): repository %q", line, got.Repository)
		}
		if (got.Name == command.Discover) && got.Repository != "" {
			t.Errorf("Parse(%q): discover with a repository", line)
		}
	})
}
