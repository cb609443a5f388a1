// Command cauase-key-id prints the identifiers of keys, those of the keys that can decrypt a
// backup, and the users they belong to.
package main

import (
	"context"
	"os"

	"cauase/pkg/clock"
)

func main() {
	os.Exit(run(context.Background(), os.Args, clock.System(), os.Stdout, os.Stderr))
}
