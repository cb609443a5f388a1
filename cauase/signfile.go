package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) signCommand() *cli.Command {
	return &cli.Command{
		Name:      "sign",
		Usage:     "sign a request that somebody else has made, and store the certificate (users only)",
		ArgsUsage: "FILE",
		Description: `The request in FILE is submitted in the user's name, shown as it is going to be signed, signed once
that is confirmed, and fetched. FILE may be PEM, also with text in it, or DER; - is standard input.

What is given with flags takes the place of what the request asks for of that kind: --dns of its DNS
names, --eku of its extended key usages. The key is the request's in any case. A common name that is a
host's becomes a DNS name, too, if there is no other name.

What has an id is signed with cauase csr sign.`,
		Flags: append(nameFlags(),
			noSANFlag(),
			&cli.StringFlag{Name: "crt", TakesFile: true, Usage: "store the certificate in `FILE`, - for standard output (default: that of the request, with .crt.pem)"},
			chainFlag(),
			&cli.StringFlag{Name: "profile", Usage: "sign as a certificate of this `PROFILE` (default: the authority's)"},
			validityFlag(""),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask whether what is shown is right"},
		),
		Action: t.action(t.signFile),
	}
}

// A signature is a request from elsewhere, and how it is to be signed.
type signature struct {
	path    string // of the request
	out     string // of the certificate
	request *pki.Request
	how     client.Approval
	changed *pki.Request // what is signed instead of the names and extensions of the request, nil for these
	session *client.Session
	id      client.ID
}

func (t *tool) signFile(c *cli.Context) error {
	s, err := t.prepareSignature(c)
	if err != nil {
		return err
	}
	if !c.Bool("yes") && (t.json || s.path == standardInput || !t.canAsk()) {
		return errNobody()
	}
	if s.session, err = t.session(c.Context); err != nil {
		return err
	}
	defer s.session.Close()
	if s.id, err = s.session.Submit(c.Context, s.request.PEM, client.Submission{Profile: s.how.Profile}); err != nil {
		return err
	}
	engine := t.engine(pemfile.PairPaths{Crt: s.out})
	engine.Client, engine.Chain = t.client, c.Bool("chain")
	issued, err := engine.Fetch(c.Context, s.id, t.verification())
	switch {
	case err == nil && (s.changed != nil || s.how.Validity != 0):
		return manners.WithHint(fmt.Errorf("%s was signed already, as it is, with the id %s", s.path, s.id), "other names or another validity need another request; cauase crt get %s fetches the certificate", s.id)
	case err == nil:
		t.note("%s was signed already", s.path)
		return t.storeSigned(engine, s, issued)
	case !errors.Is(err, client.ErrPending):
		return err
	}
	if err := t.approveShown(c.Context, s, c.Bool("yes")); err != nil {
		return err
	}
	if issued, err = engine.Fetch(c.Context, s.id, t.verification()); err != nil {
		return manners.WithHint(err, "it was signed; cauase crt get %s%s fetches it", s.id, t.authorityFlag())
	}
	return t.storeSigned(engine, s, issued)
}

// prepareSignature reads what is to be signed, and how, before anybody is asked for anything.
func (t *tool) prepareSignature(c *cli.Context) (*signature, error) {
	if c.NArg() != 1 {
		return nil, errUsage(c, "which request?")
	}
	s := &signature{path: c.Args().First(), out: c.String("crt"), how: client.Approval{Profile: c.String("profile")}}
	if isID(s.path) {
		return nil, manners.WithHint(fmt.Errorf("argument %s is an id where a file is expected", s.path), "%s csr sign %s signs what has this id; a file of that name is ./%s", toolName, s.path, s.path)
	}
	var err error
	if s.how.Validity, err = givenValidity(c); err != nil {
		return nil, err
	}
	if s.request, err = t.parseRequest(s.path); err != nil {
		return nil, err
	}
	if s.changed, err = t.amended(c, s.request); err != nil {
		return nil, err
	}
	if s.changed != nil {
		s.how.Template = s.changed.PEM
	}
	switch {
	case s.out != "":
	case s.path == standardInput:
		s.out = standardInput
	default:
		s.out = beside(s.path, ".crt.pem")
	}
	if s.out == standardInput {
		return s, nil
	}
	return s, s.checkOutput()
}

// checkOutput refuses to overwrite anything but an older certificate for the same key.
func (s *signature) checkOutput() error {
	if err := fileArgument("--crt", s.out); err != nil {
		return err
	}
	other := manners.WithHint(fmt.Errorf("%s holds something else, which is not overwritten", s.out), "choose another file with --crt")
	if sameFile(s.path, s.out) {
		return other
	}
	data, err := pemfile.Read(s.out)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	pair, err := pemfile.ReadPair(pemfile.PairPaths{Crt: s.out})
	if err == nil && pki.SameKey(pair.Key.Public(), s.request.CSR.PublicKey) {
		return nil
	}
	if crts, err := pemfile.ReadCertificates(s.out); pair.Key == nil && err == nil && len(crts) > 0 && pki.SameKey(crts[0].PublicKey, s.request.CSR.PublicKey) {
		return nil
	}
	return other
}

// approveShown shows what is going to be signed, asks whether that is right, and has exactly that signed.
func (t *tool) approveShown(ctx context.Context, s *signature, unasked bool) error {
	found, err := s.session.Show(ctx, s.id, client.Approval{Profile: s.how.Profile, Validity: s.how.Validity})
	if err != nil {
		return err
	}
	s.how.Shown = &s.request.Digest
	how, view, err := bind(s.how, s.changed, found)
	if err != nil {
		return err
	}
	if !t.json {
		(&printer{w: t.stderr}).request(view)
	}
	if !unasked && !t.confirmed("sign this?") {
		if s.changed != nil { // csr sign would sign what was submitted
			return manners.WithCode(manners.WithHint(fmt.Errorf("not signed: request %s is left pending, with the names and usages that it has itself", s.id),
				"the same command again asks again, %s csr reject %s%s rejects it", toolName, s.id, t.authorityFlag()), manners.ExitPending)
		}
		return manners.WithCode(manners.WithHint(fmt.Errorf("not signed: request %s is left pending", s.id), "%s csr sign %s%s signs it, %s csr reject %s%s rejects it",
			toolName, s.id, t.authorityFlag(), toolName, s.id, t.authorityFlag()), manners.ExitPending)
	}
	if err := s.session.Approve(ctx, s.id, how); err != nil {
		return manners.WithHint(err, "request %s is left pending", s.id)
	}
	return nil
}

// storeSigned stores the certificate that was issued for a request from elsewhere.
func (t *tool) storeSigned(engine *enroll.Engine, s *signature, issued client.Issued) error {
	if !pki.SameKey(issued.Certificate.PublicKey, s.request.CSR.PublicKey) {
		return fmt.Errorf("certificate %s: %w", s.id, client.ErrWrongKey)
	}
	if s.out == standardInput {
		return t.printPEM(s.id, issued.PEM())
	}
	changed, err := engine.Adopt(issued)
	return t.stored(engine.Paths, issued.Certificate, s.id, changed, err)
}
