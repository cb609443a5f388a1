package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/hook"
	"cauase/pkg/manage"
	"cauase/pkg/outbox"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// approveCommand signs a pending request without anybody being logged in.
func approveCommand(clk clock.Clock, stdout io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "approve",
		Usage:     "sign a pending request, or list those that are pending",
		ArgsUsage: "[ID]",
		Description: "Signs the pending request with this ID on the operator's behalf, as a user would with cauase csr sign. Without\n" +
			"an ID, it lists the requests that are pending. Compare the key identifier with whoever asks: everybody can\n" +
			"send requests, for any name. May run beside the daemon, which gives the certificate to whoever asks for it.\n\n" +
			"A request of the authority cau that is signed makes a user. Where there is none who can log in, an invitation\n" +
			"does the same without leaving a doubt about whose request it is: cauased manage invite --authority cau.",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(),
			&urfave.StringFlag{Name: flagAuthority, Usage: "of the authority `NAME` (default: whichever has the request)"},
			&urfave.StringFlag{Name: flagProfile, Usage: "sign as a certificate of this `PROFILE` (default: what the request asks for)"},
			&urfave.StringFlag{Name: flagValidity, Usage: "for how long: a `DURATION` such as 36h or 90d (default: the profile's)"},
			&urfave.BoolFlag{Name: "json", Usage: "print JSON: what was signed, or a list of what is pending"},
		},
		Action: func(c *urfave.Context) error {
			return withAuthorityHint(withDatabase(c, func(db store.Store) error { return approve(c, clk, stdout, db) }))
		},
	}
}

func approve(c *urfave.Context, clk clock.Clock, stdout io.Writer, db store.Store) error {
	const hint = "cauased manage approve lists what is pending"
	switch {
	case c.NArg() > 1:
		return cli.WithHint(errors.New("one ID at a time"), "see cauased manage approve --help")
	case c.NArg() == 0:
		return listPending(c, stdout, db)
	}
	id, err := strconv.ParseInt(c.Args().First(), 10, 64)
	if err != nil || id < 0 {
		return cli.WithHint(fmt.Errorf("%q is not the id of a request: a decimal number is", c.Args().First()), hint)
	}
	in := manage.Approval{Authority: store.AuthorityName(c.String(flagAuthority)), ID: id, Profile: c.String(flagProfile)}
	if text := c.String(flagValidity); text != "" {
		if in.Validity, err = pki.ParseDuration(text); err != nil {
			return fmt.Errorf("--%s: %w", flagValidity, err)
		}
		in.Validity = in.Validity.Truncate(time.Second)
	}
	if in.Netloc, err = readNetloc(c); err != nil {
		return err
	}
	file, err := readProfilesOnly(c)
	if err != nil {
		return err
	}
	in.Profiles = file.profiles
	if len(file.told) > 0 {
		in.Announce = hook.Announcer{Subscribers: func() []hook.Subscriber { return file.told }, Add: outbox.Record}
	}
	done, err := manage.Approve(c.Context, db, clk, in)
	if errors.Is(err, manage.ErrNotPending) {
		return cli.WithHint(err, hint)
	}
	if err != nil {
		return err
	}
	if c.Bool("json") {
		view := viewPending(done.Request)
		view.Serial = cli.SerialOf(done.Issued.Serial)
		return cli.WriteJSON(stdout, view)
	}
	p := newPrinter(c, stdout)
	p.line("%s: signed %d, %s, key %x, serial %#x", done.Request.Authority, id, requested(done.Request), done.Request.KeyID, done.Issued.Serial)
	return p.err
}

func listPending(c *urfave.Context, stdout io.Writer, db store.Store) error {
	list, err := manage.Pending(c.Context, db, store.AuthorityName(c.String(flagAuthority)))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		views := []pendingJSON{}
		for _, req := range list {
			views = append(views, viewPending(req))
		}
		return cli.WriteJSON(stdout, views)
	}
	p := newPrinter(c, stdout)
	if len(list) == 0 {
		p.line("no request is pending")
	}
	for _, req := range list {
		p.line("%s  %d  %s  %s, key %x, from %s", req.Authority, req.ID, stamp(req.ReceivedAt), requested(req), req.KeyID, audit.ParseActor(req.Submitter, req.Address))
	}
	return p.err
}

// pendingJSON is a request as scripts read it, and once it is signed the certificate's serial.
type pendingJSON struct {
	Authority  string    `json:"authority"`
	ID         string    `json:"id"` // as JSON's numbers are too short
	ReceivedAt time.Time `json:"received_at"`
	Subject    string    `json:"subject"`
	SANs       []string  `json:"sans"`
	Profile    string    `json:"profile,omitempty"`
	KeyID      string    `json:"key_id"` // hex
	Submitter  string    `json:"submitter"`
	Address    string    `json:"address,omitempty"`
	cli.Serial
	SubmitterSerial  string `json:"submitter_serial,omitempty"` // of a user
	SubmitterDecimal string `json:"submitter_serial_decimal,omitempty"`
}

func viewPending(req store.Request) pendingJSON {
	by := audit.ParseActor(req.Submitter, req.Address)
	serial := cli.SerialOf(by.Serial)
	return pendingJSON{
		Authority: string(req.Authority), ID: strconv.FormatInt(req.ID, 10), ReceivedAt: req.ReceivedAt.UTC(), Subject: req.Subject,
		SANs: append([]string{}, req.SANs...), Profile: req.Profile, KeyID: hex.EncodeToString(req.KeyID), Submitter: by.String(),
		Address: req.Address, SubmitterSerial: serial.Hex, SubmitterDecimal: serial.Decimal,
	}
}

// requested says what a request asks for.
func requested(req store.Request) string {
	text := req.Subject
	if len(req.SANs) > 0 {
		text = strings.TrimSpace(text + " [" + strings.Join(req.SANs, ", ") + "]")
	}
	if req.Profile != "" {
		text += " (" + req.Profile + ")"
	}
	return text
}
