package main

import (
	"context"
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// waitFlag lets a command wait for what is not there yet.
func waitFlag(what string) cli.Flag {
	return manners.OptionalDuration(cli.DurationFlag{Name: "wait", Usage: "wait " + what + ", at most for so long, such as 90s or 2h, if a duration is given"})
}

// patience says how long a command is to wait, 0 for not at all, and when a context of its own ends.
func patience(c *cli.Context) (ctx context.Context, wait bool, cancel context.CancelFunc) {
	switch d := c.Duration("wait"); d {
	case 0:
		return c.Context, false, func() {}
	case manners.Unlimited:
		return c.Context, true, func() {}
	default:
		ctx, cancel = context.WithTimeout(c.Context, d)
		return ctx, true, cancel
	}
}

// persist tries, until ctx ends or the error is one that waiting does not help against.
func (t *tool) persist(ctx context.Context, wait bool, try func() error, hopeful func(error) bool) error {
	if !wait {
		return try()
	}
	return enroll.Persist(ctx, try, hopeful, func(n int, err error) {
		switch pause := client.RetryAfter(err); {
		case errors.Is(err, client.ErrPending):
			if n == 0 {
				t.note("%v; waiting for a decision", err)
			}
		case pause > 0:
			t.warn("%v; trying again in %s", err, pki.FormatDuration(pause.Round(time.Second)))
		default:
			t.warn("%v; trying again", err)
		}
	})
}
