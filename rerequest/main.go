// Command cauase-rerequest makes a new key, and a signing request for it that is otherwise a
// copy of an existing one.
package main

import (
	"context"
	"os"

	"cauase/pkg/cli"
)

func main() {
	cli.NoCores()
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
