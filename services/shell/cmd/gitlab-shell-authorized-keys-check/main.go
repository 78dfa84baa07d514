// Command gitlab-shell-authorized-keys-check is an AuthorizedKeysCommand for OpenSSH:
// it asks the internal API whose key it is.
package main

import (
	"context"
	"os"

	"gitsplit/services/shell/internal/app"
)

func main() { os.Exit(app.KeysCheck(context.Background(), app.System())) }
