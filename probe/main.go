// Command cauase-probe checks a certificate authority from outside, for a monitoring system.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"cauase/pkg/clock"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, clock.System(), os.Stdout, os.Stderr))
}
