// Command gitsplit-inside is what our container images have of gitsplit: the health
// check of each, and in the image of rails-api, under the name gitsplit, what people
// ask there with `docker compose exec`. The images have room for no more.
package main

import (
	"os"
	"syscall"

	"gitsplit/ctl/internal/inside"
)

func main() {
	os.Exit(inside.Main(os.Args[1:], inside.System{
		Home: os.Getenv("GITSPLIT_HOME"), Compose: os.Getenv("GITSPLIT_COMPOSE"),
		Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Exec: syscall.Exec,
	}))
}
