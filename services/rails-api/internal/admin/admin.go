// Package admin is the operator's command line for accounts, tokens, keys, projects and jobs: what one does without a web page, and when
// nobody can sign in. It works on the database as the REST API does, through the same stores; who may run the program may do everything.
package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/auth"
	"gitsplit/services/rails-api/internal/gitstorage"
	"gitsplit/services/rails-api/internal/project"
)

// Projects removes projects; projectrepo.Service does.
type Projects interface {
	Delete(ctx context.Context, p project.Project) error
}

// Deps is what the commands work with; every field is needed, but Passwords.
type Deps struct {
	DB        *pgxpool.Pool
	Projects  Projects
	Storages  Storages
	Passwords auth.Passwords
	Added     *gitstorage.Store
	Jobs      *river.Client[pgx.Tx] // need not be started
	Now       func() time.Time
	In        io.Reader // a password or a key
	Out       io.Writer // what was asked for
}

// UsageError is a command line that makes no sense; its text says why.
type UsageError struct{ Text string }

// Error returns the text.
func (e *UsageError) Error() string { return e.Text }

// command is one command. Words name it; args are its arguments as they are shown, "[NAME]" for one that may be left out.
type command struct {
	words, args, help string
	destroys          bool // wants --yes
	flags             func(fs *flag.FlagSet, o *options)
	run               func(ctx context.Context, c *call) error
}

// options are what flags set; each command knows a few of them.
type options struct {
	json, yes            bool
	name, title, search  string
	state, scopes        string
	expires              string
	admin, password, all bool
	token, background    bool
	weight               int
}

// call is one run of a command.
type call struct {
	Deps
	options
	args []string
	out  *table
}

// arg returns an argument, "" for one that was left out.
func (c *call) arg(i int) string {
	if i < len(c.args) {
		return c.args[i]
	}
	return ""
}

func commands() []command {
	return slices.Concat(userCommands(), tokenCommands(), keyCommands(), projectCommands(), storageCommands(), jobCommands())
}

// Usage lists the commands, each line behind the prefix: the words that lead here.
func Usage(prefix string) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "usage: %s <command> [--json]\n\n", prefix)
	for _, c := range commands() {
		_, _ = fmt.Fprintf(&text, "  %-62s %s\n", c.synopsis(), c.help)
	}
	text.WriteString("\nLists and results are lines of cells with a tab between, the names of the columns first; --json writes one JSON array.\n" +
		"What cannot be undone wants --yes. Exit codes: 0 done, 1 failed, 2 a wrong command line.\n")
	return text.String()
}

// synopsis shows the command with its arguments and flags.
func (c command) synopsis() string {
	text := strings.TrimSpace(c.words + " " + c.args)
	c.flagSet(&options{}).VisitAll(func(f *flag.Flag) {
		value, _ := flag.UnquoteUsage(f)
		switch {
		case f.Name == "json":
		case f.Name == "yes":
			text += " --yes"
		case value == "":
			text += " [--" + f.Name + "]"
		default:
			text += " [--" + f.Name + " " + value + "]"
		}
	})
	return text
}

func (c command) flagSet(o *options) *flag.FlagSet {
	fs := flag.NewFlagSet(c.words, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&o.json, "json", false, "")
	if c.destroys {
		fs.BoolVar(&o.yes, "yes", false, "")
	}
	if c.flags != nil {
		c.flags(fs, o)
	}
	return fs
}

// Run runs the command that args name. The error is a *UsageError when they name none.
func Run(ctx context.Context, d Deps, args []string) error {
	c, rest, err := find(args)
	if err != nil {
		return err
	}
	run := &call{Deps: d}
	if run.args, err = c.parse(rest, &run.options); err != nil {
		return err
	}
	if c.destroys && !run.yes {
		return &UsageError{Text: fmt.Sprintf("%s cannot be undone; add --yes to do it", strings.Join(append([]string{c.words}, run.args...), " "))}
	}
	run.out = &table{w: d.Out, json: run.json}
	if err := c.run(ctx, run); err != nil {
		return told(err)
	}
	return run.out.end()
}

// find takes the words of a command off args.
func find(args []string) (command, []string, error) {
	if len(args) < 2 {
		return command{}, nil, &UsageError{Text: "which command?"}
	}
	for _, c := range commands() {
		if c.words == args[0]+" "+args[1] {
			return c, args[2:], nil
		}
	}
	return command{}, nil, &UsageError{Text: fmt.Sprintf("there is no command %q", args[0]+" "+args[1])}
}

// parse takes flags wherever they stand, and checks the number of arguments.
func (c command) parse(args []string, o *options) (words []string, err error) {
	for fs := c.flagSet(o); len(args) > 0; {
		if err := fs.Parse(args); err != nil {
			return nil, &UsageError{Text: fmt.Sprintf("%s: %v; usage: %s", c.words, err, c.synopsis())}
		}
		if args = fs.Args(); len(args) > 0 {
			words, args = append(words, args[0]), args[1:]
		}
	}
	most := len(strings.Fields(c.args))
	least := most - strings.Count(c.args, "[")
	if len(words) < least || len(words) > most {
		return nil, &UsageError{Text: "usage: " + c.synopsis()}
	}
	return words, nil
}

// told makes an error one for the operator's eyes: the message if there is one.
func told(err error) error {
	var usage *UsageError
	if msg := errs.Message(err); msg != "" && !errors.As(err, &usage) {
		return errors.New(msg)
	}
	return err
}
