package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/invite"
	"cauase/pkg/pemfile"

	manners "cauase/pkg/cli"
)

// envInvite holds an invitation, or the name of a file that does, where there is no flag.
const envInvite = "CAUASE_INVITE"

func inviteFlag() cli.Flag {
	return &cli.StringFlag{Name: "invite", TakesFile: true, DefaultText: "what " + envInvite + " holds, an invitation or the name of its file",
		Usage: "be signed at once by the invitation in `FILE`, - for standard input; it also says which CA to trust"}
}

// invitation returns the one that was given, nil if none was.
func (t *tool) invitation(c *cli.Context) (*invite.Signed, error) {
	if c.IsSet("invite") {
		if value := c.String("invite"); value != "" {
			return t.readInvitation(value)
		}
		return nil, errUsage(c, "--invite needs the name of a file")
	}
	value := os.Getenv(envInvite)
	switch {
	case value == "":
		return nil, nil
	case invite.Is(value):
		s, err := invite.Parse(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", envInvite, err)
		}
		return s, nil
	}
	s, err := t.readInvitation(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", envInvite, err)
	}
	return s, nil
}

// readInvitation reads one from a file, or from standard input for "-".
func (t *tool) readInvitation(path string) (*invite.Signed, error) {
	if invite.Is(path) {
		return nil, manners.WithHint(errors.New("an invitation on a command line can be read by every user of this machine"),
			"put it into a file that only you can read, or pass it on standard input (-) or in %s; and ask for a new one, as this one is known now", envInvite)
	}
	var from io.Reader = t.stdin
	name := "standard input"
	switch {
	case path != "-":
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, manners.WithHint(err, "one that was for the first user is removed when it was used")
		}
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
			t.warn("%s can be read by others: chmod 600 %s", path, path)
		}
		from, name = f, path
	case from == nil:
		return nil, errors.New("there is no standard input")
	}
	content, err := io.ReadAll(io.LimitReader(from, invite.MaxText+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := invite.Read(content)
	if err != nil {
		return nil, manners.WithHint(fmt.Errorf("%s: %w", name, err), "an invitation is one line that begins with %s", invite.Prefix)
	}
	return s, nil
}

// workFor has the command be about the authority of an invitation, unless it is told to be about another.
func (t *tool) workFor(c *cli.Context, s *invite.Signed) error {
	authority, err := client.ParseAuthority(s.Authority)
	switch {
	case err != nil:
		return err
	case authority == t.authority:
		return nil
	case c.IsSet("mode") || c.IsSet("authority"):
		return manners.WithHint(fmt.Errorf("the invitation is to the authority %s, and this is about %s", authority, t.authority), "leave out --mode and --authority")
	}
	t.settings.authority = authority
	t.settings.locate(c)
	return nil
}

// accept reads the invitation that a request is made with, if there is one, and has it fill in what was left out.
func (t *tool) accept(c *cli.Context) (*invite.Signed, error) {
	s, err := t.invitation(c)
	if s == nil || err != nil {
		return nil, err
	}
	if err := t.workFor(c, s); err != nil {
		return nil, err
	}
	if slices.ContainsFunc([]string{"cn", "dns", "ip", "email", "uri"}, c.IsSet) {
		return s, nil
	}
	for _, kind := range []string{"cn", "dns", "ip", "email", "uri"} {
		name, ok := s.Names.Only(kind)
		if !ok {
			continue
		}
		if err := c.Set(kind, name); err != nil {
			return nil, err
		}
		t.note("the invitation is for %s %s", kind, name)
		break
	}
	return s, nil
}

// trustInvited brings trust up to date, by what the invitation says of the CA.
func (t *tool) trustInvited(ctx context.Context, s *invite.Signed) (*client.Client, []*x509.Certificate, error) {
	c, err := t.connect()
	if err != nil {
		return nil, nil, err
	}
	local, err := t.caStore.ReadCertificates()
	if err != nil {
		return nil, nil, err
	}
	trust, err := c.TrustInvited(ctx, local, s)
	if err != nil {
		return nil, nil, err
	}
	t.trusted, t.firstUse, t.unsaved = trust.CAs, false, true
	t.invited = len(local) == 0
	return c, trust.Vouched, nil
}

// trustOthers stores what an invitation says of other authorities, where nothing is stored of them. What the command
// was for is done by then.
func (t *tool) trustOthers(ctx context.Context, s *invite.Signed) {
	for _, other := range []struct {
		authority client.AuthorityName
		store     pemfile.Store
	}{{client.CAU, t.usersStore}, {client.CAS, t.servicesStore}} {
		if other.authority == t.authority || len(client.PinsOf(s, other.authority)) == 0 {
			continue
		}
		if err := t.trustOther(ctx, other.authority, other.store, s); err != nil {
			t.warn("CA certificates of %s are not stored: %v", other.authority, err)
		}
	}
}

func (t *tool) trustOther(ctx context.Context, authority client.AuthorityName, store pemfile.Store, s *invite.Signed) error {
	local, err := store.ReadCertificates()
	if err != nil || len(local) > 0 {
		return err
	}
	c, err := t.client.For(authority)
	if err != nil {
		return err
	}
	trust, err := c.TrustInvited(ctx, nil, s)
	if err != nil {
		return err
	}
	changed, err := t.storeCAs(store, trust.CAs)
	if changed {
		t.changed = append(t.changed, "ca")
	}
	return err
}
