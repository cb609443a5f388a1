package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/control"
	"cauase/pkg/daemon"
	"cauase/pkg/pki"
)

const flagFor = "for"

// unlockCommand has a daemon that runs open private keys.
func unlockCommand(stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:  "unlock",
		Usage: "have the daemon on this machine open the private keys of the CAs",
		Description: "Asks the daemon that runs on this machine to open the private keys, with the secret file, which has to\n" +
			"be in its place, and with the passphrase, if one belongs to it. Only root and the user that the daemon\n" +
			"runs as can. Each daemon on a database has to be unlocked where it runs.\n\n" +
			"With --" + flagAuthority + " it opens those of a root that has a passphrase of its own, for a while: so long\n" +
			"the daemon can sign CA certificates and revocation lists with them.\n\n" +
			"Examples:\n" +
			"  cauased manage unlock\n" +
			"  cauased manage unlock --authority root --for 2m",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), controlFlag(),
			&urfave.StringFlag{Name: flagAuthority, Usage: "`NAME` of a root that has a passphrase of its own (default: all others)"},
			&urfave.StringFlag{Name: flagFor, Value: "5m", Usage: "`DURATION` for which that is to be open, at most 5m"},
			rootPassphraseFlag(),
			&urfave.BoolFlag{Name: "json", Usage: "print what was done as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(errors.New("unexpected argument: "+c.Args().First()), "see cauased manage unlock --help")
			}
			return unlock(c, stdout, stderr)
		},
	}
}

type unlockedJSON struct {
	Authority string `json:"authority,omitempty"`
	Until     string `json:"until,omitempty"`
}

func unlock(c *urfave.Context, stdout, stderr io.Writer) error {
	ctx, done := untilSignal(c.Context)
	defer done()
	req := daemon.UnlockRequest{Authority: c.String(flagAuthority)}
	flag, what := flagKeyPassphrase, "the private keys of the CAs"
	if req.Authority != "" {
		flag, what = flagRootPassphrase, "the private keys of "+req.Authority
		long, err := pki.ParseDuration(c.String(flagFor))
		if err != nil || long < time.Second || long > daemon.MaxUnlocked {
			return fmt.Errorf("--%s: %q is not a duration from 1s to 5m", flagFor, c.String(flagFor))
		}
		req.Seconds = int64(long / time.Second)
	}
	socket := controlSocket(c, keySecret(c, c.String(flagDB), "."))
	ask := func() (answer daemon.UnlockAnswer, err error) {
		err = control.Ask(ctx, socket, req, &answer)
		if errors.Is(err, control.ErrNobody) {
			err = cli.WithHint(err, "is the daemon running, and on this machine? --%s names its socket", flagControl)
		}
		return answer, err
	}
	from, err := passphraseFrom(c.String(flag), cli.Terminal(stderr))
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	if from == nil {
		// Perhaps there is none.
		if req.Authority == "" {
			switch answer, err := ask(); {
			case err != nil:
				return err
			case !answer.Needed:
				return unlocked(c, stdout, req, answer)
			}
		}
		from = func() ([]byte, error) {
			return cli.Passphrases{Prompt: cli.Terminal(stderr), Flag: flag + " file:"}.Ask(what)
		}
	}
	if req.Passphrase, err = from(); err != nil {
		return err
	}
	defer clear(req.Passphrase)
	answer, err := ask()
	if err != nil {
		return err
	}
	return unlocked(c, stdout, req, answer)
}

func unlocked(c *urfave.Context, stdout io.Writer, req daemon.UnlockRequest, answer daemon.UnlockAnswer) error {
	switch {
	case answer.Wait > 0:
		return cli.WithHint(errors.New(pki.EscapeText(answer.Error)), "try again in %d seconds", answer.Wait)
	case answer.Error != "":
		return errors.New(pki.EscapeText(answer.Error))
	}
	return show(c, stdout, unlockedJSON{req.Authority, answer.Until}, func(p *printer) {
		if answer.Until != "" {
			p.line("The private keys of %s are open until %s.", req.Authority, pki.EscapeText(answer.Until))
			return
		}
		p.line("The private keys of the CAs are open.")
	})
}
