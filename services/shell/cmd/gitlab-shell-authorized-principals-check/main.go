// Command gitlab-shell-authorized-principals-check is an AuthorizedPrincipalsCommand
// for OpenSSH: it ties a certificate to the user that it names.
package main

import (
	"os"

	"gitsplit/services/shell/internal/app"
)

func main() { os.Exit(app.PrincipalsCheck(app.System())) }
