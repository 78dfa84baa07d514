// Command gitaly-linguist tells gitaly which languages files are written in. gitaly
// starts it when it is asked for the languages of a commit, and it ends with the questions.
package main

import (
	"fmt"
	"os"

	"gitsplit/services/gitaly/internal/linguist/classify"
)

func main() {
	if err := classify.Serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "gitaly-linguist: %v\n", err)
		os.Exit(1)
	}
}
