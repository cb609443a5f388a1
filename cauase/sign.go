package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
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
			validityFlag(""),
		),
		Action: t.action(t.sign),
	}
}

func validityFlag(when string) cli.Flag {
	return &cli.StringFlag{Name: "validity", Usage: when + "for how long: a `DURATION` such as 36h, 1d or 90d, a number alone means days (default: the profile's)"}
}

// shownFlags say which request a decision is about.
func shownFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "digest", Usage: "only if it is the request with this `sha256:…`, as csr list and csr show print it"},
		&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "only if it is the request in `FILE`"},
	}
}

// shown reads the flags that say which request a decision is about, nil for none.
func (t *tool) shown(c *cli.Context) (*pki.Digest, error) {
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
	return t.digestIn(c.String("csr"))
}

// digestIn returns the digest of the request in the file that --csr names.
func (t *tool) digestIn(path string) (*pki.Digest, error) {
	if err := fileArgument("--csr", path); err != nil {
		return nil, err
	}
	data, err := t.readRequest(path)
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
func (t *tool) approval(c *cli.Context) (how client.Approval, template *pki.Request, err error) {
	how.Profile = c.String("profile")
	if how.Validity, err = givenValidity(c); err != nil {
		return how, nil, err
	}
	if how.Shown, err = t.shown(c); err != nil || !c.IsSet("with") {
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
	if template, err = t.parseRequest(path); err != nil {
		return how, nil, err
	}
	how.Template = template.PEM
	return how, template, nil
}

// givenValidity reads --validity, 0 if it is not given.
func givenValidity(c *cli.Context) (time.Duration, error) {
	if !c.IsSet("validity") {
		return 0, nil
	}
	validity, err := parseValidity(c.String("validity"))
	if err != nil {
		return 0, fmt.Errorf("--validity %w", err)
	}
	return validity, nil
}

func (t *tool) sign(c *cli.Context) error {
	how, template, err := t.approval(c)
	if err != nil {
		return err
	}
	return t.decide(c, "signed", func(s *client.Session, id client.ID) (*requestView, error) {
		found, err := s.Show(c.Context, id, client.Approval{Profile: how.Profile, Validity: how.Validity})
		if err != nil {
			return nil, err
		}
		how, view, err := bind(how, template, found)
		if err != nil {
			return nil, err
		}
		return &view, awaiting(s.Approve(c.Context, id, how))
	})
}

// awaiting has an approval that is not enough be no failure: what was asked for is not there yet.
func awaiting(err error) error {
	if errors.Is(err, client.ErrAwaiting) {
		return manners.WithCode(manners.WithHint(err, "the request waits for another user to sign it in the same way"), manners.ExitPending)
	}
	return err
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
		ArgsUsage: "[--reason TEXT] [--digest sha256:…|--csr FILE] ID…",
		Description: `The reason is told to whoever has the request: cauase request says it, and so does the status
of an agent.`,
		Flags: append(shownFlags(), &cli.StringFlag{Name: "reason", Usage: "why, for whoever has made the request: a `TEXT` of a line"}),
		Action: t.action(func(c *cli.Context) error {
			shown, err := t.shown(c)
			if err != nil {
				return err
			}
			reason, err := rejectionReason(c)
			if err != nil {
				return err
			}
			return t.decide(c, "rejected", func(s *client.Session, id client.ID) (*requestView, error) {
				return nil, s.Reject(c.Context, id, shown, reason)
			})
		}),
	}
}

// maxRejection bounds the reason of a rejection, in bytes.
const maxRejection = 500

func rejectionReason(c *cli.Context) (string, error) {
	reason := strings.TrimSpace(c.String("reason"))
	switch {
	case c.IsSet("reason") && reason == "":
		return "", errUsage(c, "--reason needs a text")
	case len(reason) > maxRejection:
		return "", fmt.Errorf("--reason has %d bytes, at most %d are accepted", len(reason), maxRejection)
	case pki.EscapeText(reason) != reason:
		return "", errors.New("--reason is not one line of text that can be printed")
	}
	return reason, nil
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
	return t.printResults(err, results)
}
