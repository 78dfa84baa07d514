package app

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"gitsplit/kit/errs"
	"gitsplit/kit/secret"
	"gitsplit/services/rails-api/internal/admin"
	"gitsplit/services/rails-api/internal/backup"
)

const backupUsage = `usage: gitsplit backup [options] TARGET
       gitsplit restore [options] SOURCE

TARGET and SOURCE are a path, file:///path or s3://bucket/path?region=…&endpoint=…, with credentials in the
environment or in AWS's files. A directory, or a path that ends in /, gets an archive with a name of its own, which is printed.

  --passphrase-file FILE  what encrypts the secrets of the installation, %d bytes or more; - is the standard input
  --without-secrets       neither keeps nor restores them; second factors cannot be read without
  --keep-going            backup: leave out repositories that cannot be read, and name them
  --check                 restore: read the archive to its end, and its secrets, and change nothing
  --replace               restore: let go of what the installation holds
  --database              restore: the database alone
  --hooks                 restore: custom hooks too, which are programs that gitaly will run; for archives that nobody else could write
`

// backupFlags are the options of both commands.
type backupFlags struct {
	passphraseFile, secrets, next   string
	withoutSecrets, keepGoing       bool
	check, replace, database, asked bool
	hooks                           bool
}

func (b *base) backupDeps(o backupFlags, s Streams) (backup.Deps, error) {
	d := backup.Deps{
		DatabaseURL: b.cfg.DatabaseURL, DB: b.db, Gitaly: b.gitaly, Files: b.files, Now: time.Now,
		Secrets: backup.Secrets{Dir: o.secrets, DatabaseKey: b.cfg.DatabaseKeyFile},
		Tell:    func(format string, args ...any) { _, _ = fmt.Fprintf(s.Err, format+"\n", args...) },
	}
	switch {
	case o.withoutSecrets && o.passphraseFile != "":
		return d, &admin.UsageError{Text: "--passphrase-file and --without-secrets exclude each other"}
	case o.passphraseFile != "":
		text, err := readPassphrase(o.passphraseFile, s.In)
		if err != nil {
			return d, fmt.Errorf("passphrase: %w", err)
		}
		d.Secrets.Passphrase = string(text)
	case !o.withoutSecrets && !o.check && !o.database:
		return d, &admin.UsageError{Text: "say --passphrase-file FILE, which encrypts the secrets, or --without-secrets"}
	}
	return d, nil
}

// readPassphrase reads a file, or the standard input to its end.
func readPassphrase(file string, in io.Reader) ([]byte, error) {
	if file != "-" {
		return secret.Read(file, backup.MinPassphrase)
	}
	const most = 4096 // as of a file
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	if text = bytes.TrimSpace(text); len(text) < backup.MinPassphrase || len(text) > most {
		return nil, fmt.Errorf("standard input: %d bytes, want %d to %d", len(text), backup.MinPassphrase, most)
	}
	return text, nil
}

// parse reads the options and the place of the archive.
func (o *backupFlags) parse(name string, args []string) (place string, err error) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.passphraseFile, "passphrase-file", "", "")
	// The next two are for gitsplit, which knows.
	fs.StringVar(&o.secrets, "secrets", "", "directory of the secrets")
	fs.StringVar(&o.next, "next", "", "the command that starts what was restored")
	fs.BoolVar(&o.withoutSecrets, "without-secrets", false, "")
	if name == "backup" {
		fs.BoolVar(&o.keepGoing, "keep-going", false, "")
	} else {
		fs.BoolVar(&o.check, "check", false, "")
		fs.BoolVar(&o.replace, "replace", false, "")
		fs.BoolVar(&o.database, "database", false, "")
		fs.BoolVar(&o.hooks, "hooks", false, "")
	}
	var words []string
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			if o.asked = strings.Contains(err.Error(), flag.ErrHelp.Error()); o.asked {
				return "", nil
			}
			return "", &admin.UsageError{Text: err.Error() + "\n\n" + usageOfBackup()}
		}
		if args = fs.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	if o.asked = len(words) == 1 && words[0] == "help"; o.asked || len(words) == 1 {
		return words[0], nil
	}
	return "", &admin.UsageError{Text: usageOfBackup()}
}

func usageOfBackup() string { return fmt.Sprintf(backupUsage, backup.MinPassphrase) }

// backup is `rails-api backup`.
func (b *base) backup(ctx context.Context, s Streams, args []string) error {
	var o backupFlags
	target, err := o.parse("backup", args)
	if err != nil || o.asked {
		_, _ = io.WriteString(s.Out, usageIf(o.asked))
		return err
	}
	d, err := b.backupDeps(o, s)
	if err != nil {
		return err
	}
	place, err := backup.FindPlace(target, time.Now())
	if err != nil {
		return err
	}
	began := time.Now()
	var result backup.Result
	size, err := place.Write(ctx, func(w io.Writer) (err error) {
		result, err = backup.Create(ctx, d, backup.Options{Broken: o.keepGoing}, w)
		d.Tell("reading it back")
		return err
	})
	if err != nil {
		return err
	}
	d.Tell("done: %d repositories, %d files, %s, %.0f s", result.Repositories, result.Files, backup.Bytes(size), time.Since(began).Seconds())
	if _, err := fmt.Fprintln(s.Out, place); err != nil {
		return err
	}
	if len(result.Missing) > 0 {
		return errs.Newf(errs.Internal, "the backup is without the repositories of %s", strings.Join(result.Missing, ", "))
	}
	return nil
}

func usageIf(asked bool) string {
	if asked {
		return usageOfBackup()
	}
	return ""
}
