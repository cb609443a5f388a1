package main

import (
	"fmt"
	"net/http"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// A consentView is what a user has decided about the web pages of an origin.
type consentView struct {
	Origin  string    `json:"origin"`
	Allowed bool      `json:"allowed"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
}

// A withdrawnView is what was taken back of that.
type withdrawnView struct {
	Withdrawn []string `json:"withdrawn"`
	All       bool     `json:"all"`
}

// nothingDecided says that there is nothing to take back, where that is why it was not.
func nothingDecided(origin string, err error) error {
	if !client.IsStatus(err, http.StatusNotFound) {
		return err
	}
	if origin == "" {
		return fmt.Errorf("nothing is decided about web pages (%w)", err)
	}
	return manners.WithHint(fmt.Errorf("%s: nothing is decided about its pages (%w)", origin, err), "%s cors list shows the origins that there are", toolName)
}

func (t *tool) corsList() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the origins of web pages about which you have decided whether they may act in your name",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "it takes no arguments")
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			defer session.Close()
			found, err := session.Consents(c.Context)
			if err != nil {
				return err
			}
			list := []consentView{}
			for _, one := range found {
				list = append(list, consentView{pki.EscapeText(one.Origin), one.Allowed, one.At.UTC(), one.Until.UTC()})
			}
			return t.print(list, func(p *printer) {
				if len(list) == 0 {
					return
				}
				w := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ORIGIN\tDECISION\tSINCE\tUNTIL")
				for _, one := range list {
					decision := map[bool]string{true: "allowed", false: "denied"}[one.Allowed]
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", safe(one.Origin), decision, one.At.Format(time.DateOnly), one.Until.Format(time.DateOnly))
				}
				_ = w.Flush() // into memory
			})
		}),
	}
}

func (t *tool) corsWithdraw() *cli.Command {
	return &cli.Command{
		Name:      "withdraw",
		Usage:     "take back what you have decided about web pages, so that they have to ask again",
		ArgsUsage: "ORIGIN…, or --all",
		Flags:     []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "whatever their origin"}},
		Action: t.action(func(c *cli.Context) error {
			origins := c.Args().Slice()
			if (len(origins) > 0) == c.Bool("all") {
				return errUsage(c, "which origin?")
			}
			if c.Bool("all") {
				origins = []string{""}
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			defer session.Close()
			withdrawn := []string{}
			for _, origin := range origins {
				if failed := session.WithdrawConsents(c.Context, origin); failed != nil {
					err = join(err, nothingDecided(origin, failed))
					continue
				}
				withdrawn = append(withdrawn, origin)
			}
			view := withdrawnView{withdrawn, c.Bool("all") && err == nil}
			if view.All {
				view.Withdrawn = []string{}
			}
			return t.printDone(err, len(withdrawn), view, func(p *printer) {
				if view.All {
					p.line("withdrawn: all")
				}
				for _, origin := range view.Withdrawn {
					p.line("withdrawn: %s", origin)
				}
			})
		}),
	}
}
