package admin

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"gitsplit/kit/errs"
	"gitsplit/services/rails-api/internal/key"
	"gitsplit/services/rails-api/internal/postgres"
)

func keyCommands() []command {
	return []command{
		{words: "key list", args: "USERNAME", help: "SSH keys of an account", run: listKeys},
		{words: "key add", args: "USERNAME", help: "the SSH key on standard input", run: addKey, flags: func(fs *flag.FlagSet, o *options) {
			fs.StringVar(&o.title, "title", "", "`TITLE`")
		}},
		{words: "key delete", args: "ID", help: "an SSH key", destroys: true, run: deleteKey},
	}
}

func listKeys(ctx context.Context, c *call) error {
	u, err := c.user(ctx, c.arg(0))
	if err != nil {
		return err
	}
	if err := c.out.head("id", "title", "fingerprint", "usage_type", "expires_at", "last_used_at"); err != nil {
		return err
	}
	return each(func(p postgres.Page) ([]key.Key, int, error) {
		return key.New(c.DB).ListByUser(ctx, u.ID, p)
	}, func(k key.Key) error {
		return c.out.row(k.ID, k.Title, "SHA256:"+k.Fingerprint, k.UsageType, k.ExpiresAt, k.LastUsedAt)
	})
}

func addKey(ctx context.Context, c *call) error {
	u, err := c.user(ctx, c.arg(0))
	if err != nil {
		return err
	}
	const most = 64 << 10
	text, err := io.ReadAll(io.LimitReader(c.In, most))
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	k, err := key.New(c.DB).Create(ctx, key.NewKey{UserID: u.ID, Title: c.title, Text: strings.TrimSpace(string(text))})
	if err != nil {
		return err
	}
	if err := c.out.head("id", "title", "fingerprint"); err != nil {
		return err
	}
	return c.out.row(k.ID, k.Title, "SHA256:"+k.Fingerprint)
}

func deleteKey(ctx context.Context, c *call) error {
	id, err := c.id(0)
	if err != nil {
		return err
	}
	k, err := key.New(c.DB).ByID(ctx, id)
	if err != nil {
		return err
	}
	if k.Kind != key.OfUser {
		return errs.Newf(errs.Invalid, "key %d is a deploy key; take it from its projects through the API", id)
	}
	return key.New(c.DB).Delete(ctx, k.UserID, id)
}
