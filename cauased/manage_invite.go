package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/audit"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/durable"
	"cauase/pkg/invite"
	"cauase/pkg/inviter"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

const (
	flagVoid = "void"
	flagList = "list"
	flagUses = "uses"
	flagTTL  = "ttl"
)

// invitable are the flags that name whom to invite, and the kinds of names that they are, see package invite.
var invitable = []struct{ flag, kind, usage string }{
	{"cn", "cn", "allow the common `NAME`, *.example.org for all in example.org, or * for any (repeatable, like all names)"},
	{"dns", "dns", "allow the DNS `NAME`; *.example.org for all in example.org, of one label more"},
	{"ip", "ip", "allow the IP `ADDRESS`, or those of a network such as 10.0.0.0/8"},
	{"email", "email", "allow the mail `ADDRESS`; *@example.org for all there"},
	{"uri", "uri", "allow the `URI`"},
	{"org", "o", "allow the `ORGANISATION` in the subject"},
	{"ou", "ou", "allow the organisational `UNIT` in the subject"},
	{"country", "c", "allow the country `CC` in the subject"},
}

// inviteCommand makes and withdraws invitations without anybody being logged in.
func inviteCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	flags := []urfave.Flag{dbFlag(), authorityFlag(), netlocFlag()}
	for _, i := range invitable {
		flags = append(flags, &urfave.StringSliceFlag{Name: i.flag, Usage: i.usage})
	}
	return &urfave.Command{
		Name:  "invite",
		Usage: "make an invitation, signed by the CA, by which somebody is certified without further approval",
		Description: "Prints an invitation, one line of text. Whoever presents it, with a request for names that it allows, is signed\n" +
			"at once: cauase request --invite FILE. It also says which CA to trust. It is a secret: give it to nobody else.\n" +
			"With --authority cau it makes a user, also when there is none, or none that can log in.\n\n" +
			"--" + flagVoid + " withdraws invitations, also those that users have made; --" + flagList + " lists what is on record of them. The\n" +
			"command may run beside the daemon, which accepts the invitation from then on.\n\n" +
			"Examples:\n" +
			"  cauased manage invite --authority cau --cn alice --ttl 1h --out alice.invite\n" +
			"  cauased manage invite --dns '*.web.example' --uses 50\n" +
			"  cauased manage invite --void 0123456789abcdef0123456789abcdef",
		HideHelpCommand: true,
		Flags: append(flags,
			&urfave.StringFlag{Name: flagProfile, Usage: "sign as certificates of this `PROFILE` (default: the authority's)"},
			cli.Int(urfave.IntFlag{Name: flagUses, Value: 1, Usage: "good for `COUNT` certificates"}),
			&urfave.StringFlag{Name: flagTTL, Value: "1d", Usage: "valid for a `DURATION` such as 1h or 7d, 30d at most"},
			&urfave.StringFlag{Name: flagOut, TakesFile: true, Usage: "write it to `FILE`, which only its owner can read, instead of standard output"},
			&urfave.StringSliceFlag{Name: flagVoid, Usage: "withdraw the invitation with this `ID`, instead of making one (repeatable)"},
			&urfave.BoolFlag{Name: flagList, Usage: "list invitations that were made here, used, refused or withdrawn, and have not ended"},
		),
		Action: func(c *urfave.Context) error {
			if c.Args().Present() {
				return cli.WithHint(fmt.Errorf("unexpected argument: %s", c.Args().First()), "names are given with options, such as --cn; see cauased manage invite --help")
			}
			return withAuthorityHint(withAuthority(c, nil, func(db store.Store, name store.AuthorityName) error {
				switch {
				case c.IsSet(flagVoid):
					return voidInvitations(c, clk, stdout, db, name)
				case c.Bool(flagList):
					return listInvitations(c, clk, stdout, db, name)
				}
				return makeInvitation(c, clk, stdout, stderr, db, name)
			}))
		},
	}
}

// invitee reads whom to invite.
func invitee(c *urfave.Context, name store.AuthorityName) (manage.Invitee, error) {
	in := manage.Invitee{Authority: name, Order: inviter.Order{Profile: c.String(flagProfile), Uses: c.Int(flagUses)}}
	var texts []string
	for _, i := range invitable {
		for _, value := range c.StringSlice(i.flag) {
			if _, err := invite.ParseNames([]string{i.kind + ":" + value}); err != nil {
				return in, fmt.Errorf("--%s: %w", i.flag, err)
			}
			texts = append(texts, i.kind+":"+value)
		}
	}
	if len(texts) == 0 {
		return in, cli.WithHint(errors.New("whom to invite? --cn, --dns or another name is needed"), "see cauased manage invite --help")
	}
	var err error
	if in.Names, err = invite.ParseNames(texts); err != nil {
		return in, err
	}
	if in.TTL, err = pki.ParseDuration(c.String(flagTTL)); err != nil {
		return in, fmt.Errorf("--%s: %w", flagTTL, err)
	}
	if in.Netloc, err = readNetloc(c); err != nil {
		return in, err
	}
	file, err := readProfilesOnly(c)
	in.Profiles = file.profiles
	return in, err
}

func makeInvitation(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer, db store.Store, name store.AuthorityName) error {
	in, err := invitee(c, name)
	if err != nil {
		return err
	}
	var out *durable.File
	if path := c.String(flagOut); path != "" {
		// Before anything is on record.
		out, err = durable.Create(path, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return cli.WithHint(fmt.Errorf("--%s: %w", flagOut, err), "give a FILE that is not there yet")
		} else if err != nil {
			return fmt.Errorf("--%s: %w", flagOut, err)
		}
		defer out.Discard()
	}
	signed, err := manage.Invite(c.Context, db, clk, in)
	if err != nil {
		return err
	}
	text := signed.Text() + "\n"
	asJSON, view := c.Bool("json"), viewInvitation(signed, name)
	if out != nil {
		// What is not whole does not get the name.
		if err := out.Set([]byte(text)); err != nil {
			return err
		}
		if err := out.Publish(); err != nil {
			return err
		}
		view.File = c.String(flagOut)
	} else if view.Invitation = signed.Text(); !asJSON {
		if _, err := io.WriteString(stdout, text); err != nil {
			return err
		}
	}
	if asJSON {
		return cli.WriteJSON(stdout, view)
	}
	uses := fmt.Sprintf("%d times", signed.Uses)
	if signed.Uses == 1 {
		uses = "once"
	}
	remark(stderr, "note", "invites to %s, %s until %s, for %s; its id is %s",
		name, uses, signed.Until.Format(time.RFC3339), strings.Join(signed.Names.Strings(), ", "), signed.ID)
	return nil
}

func voidInvitations(c *urfave.Context, clk clock.Clock, stdout io.Writer, db store.Store, name store.AuthorityName) error {
	netloc, err := readNetloc(c)
	if err != nil {
		return err
	}
	var ids []invite.ID
	for _, text := range c.StringSlice(flagVoid) {
		id, err := invite.ParseID(text)
		if err != nil {
			return cli.WithHint(fmt.Errorf("--%s: %w", flagVoid, err), "cauase invite show FILE says it, and so do --%s and the audit log", flagList)
		}
		ids = append(ids, id)
	}
	if err := manage.Void(c.Context, db, clk, name, netloc, ids); err != nil {
		return err
	}
	if c.Bool("json") {
		views := []map[string]string{}
		for _, id := range ids {
			views = append(views, map[string]string{"id": id.String(), "authority": string(name), "result": "withdrawn"})
		}
		return cli.WriteJSON(stdout, views)
	}
	p := newPrinter(c, stdout)
	for _, id := range ids {
		p.line("%s: withdrawn %s", name, id)
	}
	return p.err
}

func listInvitations(c *urfave.Context, clk clock.Clock, stdout io.Writer, db store.Store, name store.AuthorityName) error {
	list, err := manage.Invitations(c.Context, db, clk, name)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printInvitationsJSON(stdout, list)
	}
	p := newPrinter(c, stdout)
	if len(list) == 0 {
		p.line("%s: no invitation is on record", name)
	}
	for _, v := range list {
		state := fmt.Sprintf("used %d of %d", v.Used, v.Uses)
		if v.Uses == 0 {
			state = "never seen"
		}
		if !v.VoidedAt.IsZero() {
			state += ", withdrawn"
		}
		if v.Refused > 0 {
			state += ", refused"
		}
		p.line("%s  until %s  %s  %s  %s", v.ID, stamp(v.Until), state, strings.Join(v.Names, ", "), audit.ParseActor(v.Inviter, ""))
	}
	return p.err
}
