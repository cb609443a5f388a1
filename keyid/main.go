// Command cauase-key-id prints the identifiers of keys, and those of the keys that can decrypt
// a backup.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}
