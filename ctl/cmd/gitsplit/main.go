// Command gitsplit runs everything on one host: a private PostgreSQL and Redis and
// every service of gitsplit, in order, until it is told to stop.
package main

import (
	"os"

	"gitsplit/ctl/internal/app"
)

func main() { os.Exit(app.Process()) }
