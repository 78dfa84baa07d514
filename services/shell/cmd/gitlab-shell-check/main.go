// Command gitlab-shell-check asks the internal API whether it and its Redis are well.
package main

import (
	"context"
	"os"

	"gitsplit/services/shell/internal/app"
)

func main() { os.Exit(app.Check(context.Background(), app.System())) }
