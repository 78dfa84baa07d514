// Command gitaly-hooks is what git starts as its hooks. It asks gitaly and does
// what gitaly says; it decides nothing itself.
package main

import (
	"context"
	"os"

	"gitsplit/services/hooks/internal/relay"
)

func main() {
	os.Exit(relay.Main(context.Background(), os.Args, os.Environ(), relay.Streams{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}
