package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/durable"
	"cauase/pkg/invite"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// defaultTTL is how long an invitation is valid when nothing is said.
const defaultTTL = 24 * time.Hour

func (t *tool) inviteCommand() *cli.Command {
	return &cli.Command{
		Name:  "invite",
		Usage: "invite others to get certificates without further approval (users only)",
		Description: `Signs, with the user's key and without asking the daemon, an invitation: one line of text.
Whoever presents it, with a request for names that it allows, is signed at once:

  cauase request --cn NAME --invite FILE

It also has the fingerprints of the CA, of which the newcomer then needs to know nothing.
It is a secret: give it to nobody else, and not on a command line.

With --mode user it makes a user of whoever has it. A * in a DNS name stands for exactly one
label, so that *.web.example allows a.web.example and not a.b.web.example; names of kinds that
are not mentioned are not allowed, except for a common name that is one of the DNS names.

It ends with its time, when it is used up, when "invite void" withdraws it, and when the
certificate of the user who has signed it expires or is revoked.`,
		Flags: append(invitedFlags(),
			&cli.StringFlag{Name: "profile", Usage: "sign as certificates of this `PROFILE` (default: the authority's)"},
			manners.Int(cli.IntFlag{Name: "uses", Value: 1, Usage: "good for `COUNT` certificates"}),
			&cli.StringFlag{Name: "ttl", DefaultText: "1d", Usage: "valid for a `DURATION` such as 1h or 7d, 30d at most"},
			&cli.StringFlag{Name: "out", TakesFile: true, Usage: "write it to `FILE`, which only its owner can read, instead of standard output"},
		),
		Action: t.action(t.invite),
		Subcommands: []*cli.Command{
			t.inviteVoid(), t.inviteList(), t.inviteShow(),
		},
	}
}

func (t *tool) invite(c *cli.Context) error {
	if name := c.Args().First(); name != "" {
		return errUsage(c, fmt.Sprintf("%q: names are given with flags, such as --cn or --dns; the commands are void, list and show", name))
	}
	names, err := invitedNames(c)
	switch {
	case err != nil:
		return err
	case names.Empty():
		return errUsage(c, "whom to invite? give --cn, --dns or another name")
	}
	ttl := defaultTTL
	if c.IsSet("ttl") {
		if ttl, err = parseValidity(c.String("ttl")); err != nil {
			return fmt.Errorf("--ttl %w", err)
		}
	}
	user, err := t.user()
	if err != nil {
		return err
	}
	now := t.clock.Now()
	until := now.Add(ttl)
	if end := user.Crt.NotAfter; until.After(end) {
		if c.IsSet("ttl") {
			return manners.WithHint(fmt.Errorf("--ttl %s: the certificate in %s, with which the invitation ends, is valid until %s", c.String("ttl"), t.userKey, end.UTC().Format(time.RFC3339)),
				"renew it first, or choose a shorter time")
		}
		until = end
	}
	cas, err := t.fingerprints(now)
	if err != nil {
		return err
	}
	payload, err := invite.Invitation{
		Authority: string(t.authority), Names: names, Profile: c.String("profile"), Uses: c.Int("uses"),
		Made: now, Until: until, By: user.Crt.SerialNumber, CAs: cas,
	}.Payload()
	if err != nil {
		return err
	}
	signed, err := invite.Sign(user.Key, payload)
	if err != nil {
		return err
	}
	return t.handOver(signed, c.String("out"))
}

// fingerprints are those of the CA certificates that whoever is invited is going to meet: those stored here, of the
// authority at work and, for a user, of services.
func (t *tool) fingerprints(now time.Time) (map[string][]invite.Fingerprint, error) {
	found := make(map[string][]invite.Fingerprint)
	add := func(authority client.AuthorityName, store pemfile.Store) error {
		crts, err := store.ReadCertificates()
		if err != nil {
			return err
		}
		for _, ca := range crts {
			if ca.IsCA && pki.CheckValidity(ca, now) == nil {
				found[string(authority)] = append(found[string(authority)], invite.FingerprintOf(ca))
			}
		}
		return nil
	}
	if err := add(t.authority, t.caStore); err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, manners.WithHint(fmt.Errorf("%s holds no valid CA certificate of %s, by which the newcomer could know the CA", t.caStore.Path, t.authority),
			"%s ca update%s fetches them", toolName, t.authorityFlag())
	}
	if t.authority == client.CAU {
		if err := add(client.CAS, t.servicesStore); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// handOver writes the invitation where it is wanted.
func (t *tool) handOver(s *invite.Signed, path string) error {
	view := viewInvitation(s)
	if path == "" {
		view.Invitation = s.Text()
	} else {
		if err := writeSecret(path, s.Text()+"\n"); err != nil {
			return err
		}
		view.File = path
	}
	err := t.print(view, func(p *printer) {
		if path == "" {
			p.line("%s", s.Text())
		}
	})
	if err != nil || t.json {
		return err
	}
	who := "services"
	switch t.authority {
	case client.CAS:
	case client.CAU:
		who = "users"
	default:
		who = "authority " + string(t.authority)
	}
	uses := fmt.Sprintf("%d times", s.Uses)
	if s.Uses == 1 {
		uses = "once"
	}
	t.note("invites to %s, %s until %s, for %s; its id is %s", who, uses, s.Until.Format(time.RFC3339), strings.Join(s.Names.Strings(), ", "), s.ID)
	return nil
}

// writeSecret makes a file for its owner's eyes, and replaces none.
func writeSecret(path, content string) error {
	f, err := durable.Create(path, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return manners.WithHint(fmt.Errorf("%s exists", path), "choose another file")
	}
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.Set([]byte(content)); err != nil {
		return err
	}
	return f.Publish()
}

func (t *tool) inviteShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "describe an invitation, but for the secret in it",
		ArgsUsage: "FILE|-",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() != 1 {
				return errUsage(c, "which invitation?")
			}
			s, err := t.readInvitation(c.Args().First())
			if err != nil {
				return err
			}
			view := viewInvitation(s)
			return t.print(view, func(p *printer) { p.invitation(view, t.clock.Now()) })
		}),
	}
}

func (t *tool) inviteVoid() *cli.Command {
	return &cli.Command{
		Name:      "void",
		Usage:     "withdraw invitations, whether they were used or not (users only)",
		ArgsUsage: "ID|FILE|-…",
		Description: `The authority is that of the invitation, if it is there, or else the one of --mode or
--authority. Certificates that were issued stay: crt revoke withdraws those.`,
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errUsage(c, "which invitation?")
			}
			ids := make([]invite.ID, c.NArg())
			for i, arg := range c.Args().Slice() {
				id, err := invite.ParseID(arg)
				if err != nil {
					s, err := t.readInvitation(arg)
					if err != nil {
						return err
					}
					id = s.ID
					if err := t.workFor(c, s); err != nil {
						return err
					}
				}
				ids[i] = id
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			results := []voidedView{}
			for _, id := range ids {
				if failed := session.Void(c.Context, id); failed != nil {
					err = join(err, failed)
					continue
				}
				results = append(results, voidedView{ID: id.String(), Authority: string(t.authority), Result: "withdrawn"})
			}
			return t.printDone(err, len(results), results, func(p *printer) {
				for _, r := range results {
					p.line("%s %s", r.Result, r.ID)
				}
			})
		}),
	}
}

func (t *tool) inviteList() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list invitations that were used, refused or withdrawn, and have not ended (users only)",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "invite list takes no arguments")
			}
			session, err := t.session(c.Context)
			if err != nil {
				return err
			}
			list, err := session.Invitations(c.Context)
			if err != nil {
				return err
			}
			views := make([]recordedView, 0, len(list))
			for _, v := range list {
				views = append(views, t.viewRecorded(v))
			}
			return t.print(views, func(p *printer) { p.invitations(views) })
		}),
	}
}
