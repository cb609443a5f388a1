package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) csrSign() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign pending requests, and show what was signed (users only)",
		ArgsUsage: "[--digest sha256:…|--csr FILE] [--with FILE] [--profile NAME] [--validity DURATION] ID…",
		Description: `Each request is fetched, and what was fetched is what is signed and shown: if there is another
request under the id, the daemon refuses. To sign the one that was looked at before, with csr list or csr
show, give its digest, or the file in which it is.`,
		Flags: append(shownFlags(),
			&cli.StringFlag{Name: "with", TakesFile: true, Usage: "take subject and extensions from the request in `FILE`, and only the key from the submitted one"},
			&cli.StringFlag{Name: "profile", Usage: "sign as a certificate of this `PROFILE` (default: what the request asks for)"},
			&cli.StringFlag{Name: "validity", Usage: "for how long: a `DURATION` such as 36h, 1d or 90d, a number alone means days (default: the profile's)"},
		),
		Action: t.action(t.sign),
	}
}

// shownFlags say which request a decision is about.
func shownFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "digest", Usage: "only if it is the request with this `sha256:…`, as csr list and csr show print it"},
		&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "only if it is the request in `FILE`"},
	}
}

// shown reads the flags that say which request a decision is about, nil for none.
func shown(c *cli.Context) (*pki.Digest, error) {
	if !c.IsSet("digest") && !c.IsSet("csr") {
		return nil, nil
	}
	if c.IsSet("digest") && c.IsSet("csr") {
		return nil, errUsage(c, "--digest and --csr say the same: give one of them")
	}
	if c.NArg() > 1 {
		return nil, errUsage(c, "--digest and --csr are about one request")
	}
	if c.IsSet("digest") {
		digest, err := pki.ParseDigest(c.String("digest"))
		if err != nil {
			return nil, fmt.Errorf("--digest %w", err)
		}
		return &digest, nil
	}
	path := c.String("csr")
	if err := fileArgument("--csr", path); err != nil {
		return nil, err
	}
	data, err := pemfile.Read(path)
	if err != nil {
		return nil, err
	}
	digest, err := client.Submitted{PEM: data}.Digest()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &digest, nil
}

// approval reads the flags that say how a request is to be signed.
func approval(c *cli.Context) (how client.Approval, template *pki.Request, err error) {
	how.Profile = c.String("profile")
	if text := c.String("validity"); c.IsSet("validity") {
		if how.Validity, err = parseValidity(text); err != nil {
			return how, nil, fmt.Errorf("--validity %w", err)
		}
	}
	if how.Shown, err = shown(c); err != nil || !c.IsSet("with") {
		return how, nil, err
	}
	path := c.String("with")
	if path == "" {
		return how, nil, errUsage(c, "--with needs the path of a request")
	}
	if c.NArg() > 1 {
		return how, nil, errUsage(c, "--with signs one request at a time")
	}
	if err := fileArgument("--with", path); err != nil {
		return how, nil, err
	}
	if how.Template, err = pemfile.Read(path); err != nil {
		return how, nil, err
	}
	if template, err = pki.ParseRequest(how.Template); err != nil {
		return how, nil, fmt.Errorf("%s: %w", path, err)
	}
	return how, template, nil
}

func (t *tool) sign(c *cli.Context) error {
	how, template, err := approval(c)
	if err != nil {
		return err
	}
	return t.decide(c, "signed", func(s *client.Session, id client.ID) (*requestView, error) {
		found, err := s.Show(c.Context, id, client.Approval{Profile: how.Profile, Validity: how.Validity})
		if err != nil {
			return nil, fmt.Errorf("sign request %s: %w", id, err)
		}
		how, view, err := bind(how, template, found)
		if err != nil {
			return nil, err
		}
		return &view, s.Approve(c.Context, id, how)
	})
}

// bind completes an approval such that what is shown, and nothing else, is signed.
func bind(how client.Approval, template *pki.Request, found client.Submitted) (client.Approval, requestView, error) {
	view := viewSubmitted(found)
	digest, err := found.Digest()
	switch {
	case err != nil:
		return how, view, fmt.Errorf("request %s: %w", found.ID, err)
	case how.Shown == nil && view.Key == "":
		return how, view, manners.WithHint(fmt.Errorf("request %s cannot be shown, and is not signed unseen: %s", found.ID, view.Problem),
			"to sign it nevertheless, give its --digest")
	case how.Shown != nil && *how.Shown != digest:
		return how, view, fmt.Errorf("request %s: %w: it has the digest %s", found.ID, client.ErrOther, digest)
	}
	how.Shown = &digest
	if how.Profile == "" && found.Preview != nil {
		how.Profile = found.Preview.Profile
	}
	if how.Profile != "" {
		view.Profile = pki.EscapeText(how.Profile)
	}
	if how.Validity != 0 {
		view.Validity = int64(how.Validity / time.Second)
	}
	if template != nil {
		view.contain(template.CSR.RawSubject, template.CSR.Extensions)
		view.Previewed, view.Dropped, view.Extensions, view.Problem = false, nil, nil, ""
	}
	return how, view, nil
}

const day = 24 * time.Hour

// parseValidity reads how long a certificate is to be valid: days, or a duration in which days
// may be a unit.
func parseValidity(text string) (time.Duration, error) {
	d, err := pki.ParseDays(text)
	if err != nil || d < time.Second || d%time.Second != 0 {
		return 0, fmt.Errorf("%.40q is not a duration such as 36h, 1d or 90d", text)
	}
	return d, nil
}

func (t *tool) csrReject() *cli.Command {
	return &cli.Command{
		Name:      "reject",
		Usage:     "reject pending requests (users only)",
		ArgsUsage: "[--digest sha256:…|--csr FILE] ID…",
		Flags:     shownFlags(),
		Action: t.action(func(c *cli.Context) error {
			shown, err := shown(c)
			if err != nil {
				return err
			}
			return t.decide(c, "rejected", func(s *client.Session, id client.ID) (*requestView, error) {
				return nil, s.Reject(c.Context, id, shown)
			})
		}),
	}
}

// decide does the same to several requests. One that fails does not keep the others
// from their decision.
func (t *tool) decide(c *cli.Context, done string, do func(*client.Session, client.ID) (*requestView, error)) error {
	if c.NArg() == 0 {
		return errUsage(c, "which request?")
	}
	var ids []client.ID
	for _, arg := range c.Args().Slice() {
		id, err := client.ParseID(arg)
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	session, err := t.session(c.Context)
	if err != nil {
		return err
	}
	results := []resultView{}
	for _, id := range ids {
		view, failed := do(session, id)
		switch {
		case client.IsStatus(failed, http.StatusNotFound):
			failed = manners.WithHint(failed, "it is not pending: somebody has signed or rejected it, or it belongs to another authority (--mode, --authority)")
		case errors.Is(failed, client.ErrOther):
			failed = manners.WithHint(failed, "nothing has been decided; look at it again: somebody may have shown you another request in its place")
		}
		if failed != nil {
			err = join(err, failed)
			continue
		}
		results = append(results, resultView{ID: id.String(), Result: done, Request: view})
	}
	return join(err, t.printResults(results))
}
