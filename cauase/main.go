// Command cauase is the client of a certificate authority for administrators and
// hosts: it requests, fetches, renews and revokes certificates, decides on requests, and
// keeps CA certificates and revocation lists up to date.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"cauase/pkg/clock"

	manners "cauase/pkg/cli"
)

func main() {
	manners.NoCores()
	os.Exit(execute(os.Args, clock.System()))
}

// execute runs the tool as a process of its own.
func execute(args []string, now clock.Clock) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // another signal ends what the first one does not
	return run(ctx, environment{
		args:    args,
		stdin:   os.Stdin,
		stdout:  os.Stdout,
		stderr:  os.Stderr,
		clock:   now,
		prompt:  manners.Terminal(os.Stderr),
		display: manners.Display(os.Stderr),
		width:   terminalWidth(os.Stdout),
	})
}
