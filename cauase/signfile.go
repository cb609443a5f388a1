package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"

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

Requests of appliances are corrected where certificates do not have what they ask for: names in
T61String or BMPString, extensions under Microsoft's old attribute, addresses among DNS names. What was
corrected is shown before the question. What cannot be corrected without guessing is an error.

The certificate is written as the device wants it, by --format or by the end of the file's name: pem;
der (.der); chain, the certificate and those of its CAs up to the root, in PEM; p7b (.p7b, .p7c), the
same as PKCS #7 in PEM; p7b-der, that in DER.

What has an id is signed with cauase csr sign.`,
		Flags: append(nameFlags(),
			noSANFlag(),
			&cli.StringFlag{Name: "crt", Aliases: []string{"out"}, TakesFile: true, Usage: "store the certificate in `FILE`, - for standard output (default: that of the request, with .crt.pem, or what --format has)"},
			formatFlag(),
			chainFlag(),
			&cli.StringFlag{Name: "profile", Usage: "sign as a certificate of this `PROFILE` (default: the authority's)"},
			validityFlag(""),
			waitFlag(untilDecided+", if need be by another user"),
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "do not ask whether what is shown is right"},
		),
		Action: t.action(t.signFile),
	}
}

// A signature is a request from elsewhere, and how it is to be signed.
type signature struct {
	path    string // of the request
	out     string // of the certificate
	format  format // in which the certificate is stored
	request *pki.Request
	asked   pki.Corrected // what it asks for
	how     client.Approval
	changed *pki.Request // what is signed instead of the names and extensions of the request, nil for these
	session *client.Session
	id      client.ID

	authority string // what commands about the request need to say which authority it is of
}

func (t *tool) signFile(c *cli.Context) error {
	if err := spaceBeforeDuration(c); err != nil {
		return err
	}
	s, err := t.prepareSignature(c)
	if err != nil {
		return err
	}
	if !c.Bool("yes") && (t.json || s.path == standardInput || !t.canAsk()) {
		return errNobody("nothing was submitted")
	}
	ctx, wait, cancel := patience(c)
	defer cancel()
	if s.session, err = t.session(c.Context); err != nil {
		return err
	}
	defer s.session.Close()
	err = t.persist(ctx, wait, func() (err error) {
		s.id, err = s.session.Submit(c.Context, s.request.PEM, client.Submission{Profile: s.how.Profile, Foreign: s.request.Foreign})
		return err
	}, enroll.Busy)
	switch {
	case s.request.Foreign && client.IsStatus(err, http.StatusBadRequest):
		return manners.WithHint(err, "this daemon takes only requests that it could sign as they are: the device has to make another one")
	case err != nil:
		return err
	}
	engine := t.engine(pemfile.PairPaths{Crt: s.out})
	engine.Client, engine.Chain = t.client, c.Bool("chain") || s.format.chain
	if err = t.signSubmitted(ctx, engine, s, c.Bool("yes"), wait); undecided(ctx, err) {
		return t.pending(ctx, resultView{ID: s.id.String(), File: s.path}, s.later())
	}
	return err
}

// signSubmitted signs a request that was submitted, unless that was done before, and stores the certificate.
func (t *tool) signSubmitted(ctx context.Context, engine *enroll.Engine, s *signature, unasked, wait bool) error {
	issued, err := engine.FetchFor(ctx, s.id, s.request.Digest, t.verification())
	switch {
	case err == nil && !s.fits(issued.Certificate):
		return s.signedAsItIs()
	case err == nil:
		t.note("%s was signed already", s.path)
		return t.storeSigned(ctx, engine, s, issued)
	case !errors.Is(err, client.ErrPending):
		return err
	}
	signed, err := t.approveShown(ctx, s, unasked, wait)
	if err != nil {
		return err
	}
	err = t.decision(ctx, wait, s.id, func() (err error) {
		issued, err = engine.FetchFor(ctx, s.id, s.request.Digest, t.verification())
		return err
	})
	switch {
	case errors.Is(err, enroll.ErrRejected):
		view, err := rejection(resultView{ID: s.id.String(), File: s.path}, err, "")
		if t.json {
			err = join(err, t.print(view, nil))
		}
		return err
	case err != nil && signed && ctx.Err() == nil:
		return manners.WithHint(err, "it was signed; %s crt get %s%s fetches it", toolName, s.id, t.authorityFlag())
	case err == nil && !signed && !s.fits(issued.Certificate):
		return s.signedAsItIs()
	case err != nil:
		return err
	}
	return t.storeSigned(ctx, engine, s, issued)
}

// fits reports whether a certificate that was signed before, of which the answer may have been lost, is what is wanted now.
func (s *signature) fits(crt *x509.Certificate) bool {
	if s.how.Validity != 0 {
		// Certificates begin a little before they are signed.
		if life := crt.NotAfter.Sub(crt.NotBefore); life < s.how.Validity || life > s.how.Validity+day {
			return false
		}
	}
	if s.changed == nil {
		return true
	}
	usages := func(extensions []pkix.Extension) []byte {
		i := slices.IndexFunc(extensions, func(e pkix.Extension) bool { return e.Id.String() == oidExtKeyUsage })
		if i < 0 {
			return nil
		}
		return extensions[i].Value
	}
	wanted := usages(s.changed.CSR.Extensions)
	return len(client.Differences(crt, s.changed)) == 0 && (wanted == nil || bytes.Equal(wanted, usages(crt.Extensions)))
}

// signedAsItIs says that somebody has signed a request without what was to be changed.
func (s *signature) signedAsItIs() error {
	return manners.WithHint(fmt.Errorf("%s was signed already, as it is, with the id %s", s.path, s.id), "other names or another validity need another request; %s crt get %s fetches the certificate", toolName, s.id)
}

// later says how to go on with a request that is left pending.
func (s *signature) later() string {
	text := "the same command again asks again"
	if s.path == standardInput {
		text = "the same command with the same input asks again"
	}
	if s.changed == nil { // csr sign would sign what was submitted
		text += fmt.Sprintf(", %s csr sign %s%s signs it", toolName, s.id, s.authority)
	}
	return text + fmt.Sprintf(", %s csr reject %s%s rejects it", toolName, s.id, s.authority)
}

// prepareSignature reads what is to be signed, and how, before anybody is asked for anything.
func (t *tool) prepareSignature(c *cli.Context) (*signature, error) {
	if c.NArg() != 1 {
		return nil, errUsage(c, "which request?")
	}
	s := &signature{path: c.Args().First(), out: c.String("crt"), how: client.Approval{Profile: c.String("profile")}, authority: t.authorityFlag()}
	if isID(s.path) {
		return nil, manners.WithHint(fmt.Errorf("argument %s is an id where a file is expected", s.path), "%s csr sign %s signs what has this id; a file of that name is ./%s", toolName, s.path, s.path)
	}
	var err error
	if s.how.Validity, err = givenValidity(c); err != nil {
		return nil, err
	}
	if s.request, s.asked, err = t.parseForeign(c, s.path); err != nil {
		return nil, err
	}
	if s.format, err = chosenFormat(c, s.out); err != nil {
		return nil, err
	}
	if t.json && s.format.binary && (s.out == standardInput || s.out == "" && s.path == standardInput) {
		return nil, manners.WithHint(errTextOnly, "write it into a file with --out, or choose another --format")
	}
	if s.changed, err = t.amended(c, s.request, s.asked); err != nil {
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
		s.out = beside(s.path, s.format.suffix)
	}
	if s.out == standardInput {
		return s, nil
	}
	if err := s.checkOutput(); err != nil {
		return nil, err
	}
	// Nothing is signed that could not be stored.
	return s, pemfile.PairPaths{Crt: s.out}.Check()
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
	if s.format.encode != nil {
		return s.replaceable(data, other)
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

// approveShown shows what is going to be signed, asks whether that is right, and has exactly that signed. If it may wait, what
// this user does not sign is left to others.
func (t *tool) approveShown(ctx context.Context, s *signature, unasked, wait bool) (signed bool, err error) {
	var how client.Approval
	var view requestView
	err = t.persist(ctx, wait, func() error {
		found, err := s.session.Show(ctx, s.id, client.Approval{Profile: s.how.Profile, Validity: s.how.Validity})
		if err == nil {
			s.how.Shown = &s.request.Digest
			how, view, err = bind(s.how, s.changed, found)
			view.corrected(s.request, s.asked)
			t.corrected = s.asked.Changes
		}
		return err
	}, enroll.Busy)
	if err != nil {
		return false, manners.WithHint(err, "request %s is left pending; %s", s.id, s.later())
	}
	if !t.json {
		(&printer{w: t.stderr}).request(view)
	}
	switch {
	case unasked || t.confirmed(ctx, "sign this?"):
	case wait && ctx.Err() == nil:
		t.note("not signed here")
		return false, nil
	default:
		left := fmt.Sprintf("not signed: request %s is left pending", s.id)
		if s.changed != nil {
			left += ", with the names and usages that it has itself"
		}
		return false, manners.WithCode(manners.WithHint(errors.New(left), "%s", s.later()), manners.ExitPending)
	}
	err = t.persist(ctx, wait, func() error { return s.session.Approve(ctx, s.id, how) }, enroll.Busy)
	switch {
	case client.IsStatus(err, http.StatusNotFound):
		return false, nil // somebody has decided meanwhile: fetching it tells
	case errors.Is(err, client.ErrAwaiting) && wait:
		t.note("%v", err)
		return false, nil
	case errors.Is(err, client.ErrAwaiting):
		return false, manners.WithCode(manners.WithHint(err, "request %s is left pending; %s", s.id, s.later()), manners.ExitPending)
	case err != nil:
		return false, manners.WithHint(err, "%srequest %s is left pending; %s", notAUser(err), s.id, s.later())
	}
	return true, nil
}

// storeSigned stores the certificate that was issued for a request from elsewhere.
func (t *tool) storeSigned(ctx context.Context, engine *enroll.Engine, s *signature, issued client.Issued) error {
	if !pki.SameKey(issued.Certificate.PublicKey, s.request.CSR.PublicKey) {
		return fmt.Errorf("certificate %s: %w", s.id, client.ErrWrongKey)
	}
	if s.format.encode != nil {
		return t.storeReply(ctx, engine, s, issued)
	}
	if s.out == standardInput {
		return t.printPEM(s.id, issued.PEM())
	}
	changed, err := engine.Adopt(issued)
	return t.stored(engine.Paths, issued.Certificate, s.id, changed, err)
}
