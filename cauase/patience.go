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

// untilDecided is what commands wait for that hand in a request.
const untilDecided = "until the request is signed or rejected"

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

// spaceBeforeDuration is the error for --wait 5m: the duration is then an argument.
func spaceBeforeDuration(c *cli.Context) error {
	if !c.IsSet("wait") {
		return nil
	}
	for _, arg := range c.Args().Slice() {
		if _, err := pki.ParseDuration(arg); err == nil && !isID(arg) {
			return errUsage(c, arg+": a duration follows --wait without a space: --wait="+arg)
		}
	}
	return nil
}

// persist tries, until ctx ends or the error is one that waiting does not help against.
func (t *tool) persist(ctx context.Context, wait bool, try func() error, hopeful func(error) bool) error {
	if !wait {
		return try()
	}
	said := ""
	return enroll.Persist(ctx, try, hopeful, func(_ int, err error) {
		text := err.Error()
		pause := client.RetryAfter(err)
		if pause > 0 {
			text += "; trying again in " + pki.FormatDuration(pause.Round(time.Second))
		} else {
			text += "; trying again"
		}
		switch {
		case text == said, errors.Is(err, client.ErrPending):
		default:
			t.warn("%s", text)
		}
		said = text // which is not repeated
	})
}

// decision gets what has become of a request, by try, and waits for it if it may.
func (t *tool) decision(ctx context.Context, wait bool, id client.ID, try func() error) error {
	told := false
	return t.persist(ctx, wait, func() error {
		err := try()
		if wait && !told && errors.Is(err, client.ErrPending) {
			told = true
			t.note("waiting for a decision on request %s", id)
		}
		return err
	}, enroll.Undecided)
}

// undecided reports whether an error of decision is that there is none yet.
func undecided(ctx context.Context, err error) bool {
	return err != nil && (errors.Is(err, client.ErrPending) || ctx.Err() != nil) && enroll.Undecided(err)
}
