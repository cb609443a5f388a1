// Command cauase-updater is the agent of a host: it gets a certificate, and keeps it, its
// key, CA certificates and revocation lists up to date for as long as it runs.
package main

import (
	"context"
	"os"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/updater"
)

func main() {
	cli.NoCores()
	if updater.Separated(os.Args) {
		os.Exit(updater.ServeSeparated(clock.System()))
	}
	limitGarbage(os.Getenv)
	os.Exit(run(context.Background(), os.Args, clock.System(), os.Stdout, os.Stderr))
}
