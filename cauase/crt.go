package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func keyFlag() cli.Flag {
	return &cli.StringFlag{Name: "key", TakesFile: true, Usage: "the key is in `FILE` (default: with the certificate)"}
}

func chainFlag() cli.Flag {
	return &cli.BoolFlag{Name: "chain", Usage: "store the CA certificates between the certificate and its root behind it, as servers send them"}
}

// stored says what became of a certificate that was to be put into its file.
func (t *tool) stored(paths pemfile.PairPaths, crt *x509.Certificate, id client.ID, changed []string, err error) error {
	t.changed = append(t.changed, changed...)
	switch {
	case errors.Is(err, pemfile.ErrMismatch):
		return manners.WithHint(err, "certificate %s belongs to another key: choose another file", id)
	case errors.Is(err, enroll.ErrOvertaken):
		return errReplaced(paths)
	case err != nil:
		return err
	}
	view := t.viewCertificate(crt)
	view.File, view.P12, view.Corrected = paths.Crt, t.p12Made, t.corrected
	return t.print(view, func(p *printer) {
		p.line("%s: certificate of %s, %s", paths.Crt, subjectOrNames(view.Subject, view.SANs), view.Validity)
		if view.P12 != nil {
			p.p12(*view.P12)
		}
	})
}

func errReplaced(paths pemfile.PairPaths) error {
	return fmt.Errorf("%s was replaced meanwhile, by another run: what it holds now stays", paths.Crt)
}

func subjectOrNames(subject string, sans []string) string {
	if subject != "" {
		return subject
	}
	return strings.Join(sans, ", ")
}

// pairPaths reads arguments of the form CRT [KEY] or CRT --key KEY.
func pairPaths(c *cli.Context) (pemfile.PairPaths, error) {
	key := c.String("key")
	if c.NArg() < 1 || c.NArg() > 2 || c.NArg() == 2 && key != "" {
		return pemfile.PairPaths{}, errUsage(c, "which certificate?")
	}
	paths, err := fileArguments(c)
	if err != nil {
		return pemfile.PairPaths{}, err
	}
	if len(paths) == 2 {
		key = paths[1]
	}
	return pemfile.PairPaths{Crt: paths[0], Key: key}, nil
}

// readPair reads a certificate with its key, after recovering the files if a renewal was
// interrupted between the two.
func (t *tool) readPair(paths pemfile.PairPaths) (enroll.Files, error) {
	from := enroll.Look(paths)
	err := from.Err
	if errors.Is(err, pemfile.ErrMismatch) {
		if err = t.recoverPair(t.engine(paths)); err == nil {
			from = enroll.Look(paths)
			err = from.Err
		}
	}
	if err == nil && from.Pair.Crt == nil {
		err = fmt.Errorf("%s holds no certificate", paths.Crt)
	}
	if _, missing := os.Stat(paths.Crt); errors.Is(err, fs.ErrNotExist) && paths.Combined() && missing == nil {
		hint := "if the key is in a file of its own, name it with --key"
		if key := keyBeside(paths.Crt); key != "" {
			hint += fmt.Sprintf(": --key %s", key)
		}
		err = manners.WithHint(err, "%s", hint)
	}
	return from, err
}

// keyBeside is a file beside a certificate's that is named like its key's, "" for none.
func keyBeside(crt string) string {
	stem := strings.TrimSuffix(crt, filepath.Ext(crt))
	stem = strings.TrimSuffix(stem, ".crt")
	for _, key := range []string{stem + ".key", stem + ".key.pem", filepath.Join(filepath.Dir(crt), "privkey.pem")} {
		if info, err := os.Stat(key); err == nil && info.Mode().IsRegular() && !sameFile(key, crt) {
			return key
		}
	}
	return ""
}

// recoverPair completes or rolls back a renewal that was interrupted.
func (t *tool) recoverPair(engine *enroll.Engine) error {
	mended, err := engine.Recover()
	if mended {
		t.note("%s and %s: an interrupted renewal was completed or undone", engine.Paths.Key, engine.Paths.Crt)
	}
	return err
}

// nothingToRecover reports whether an error of recoverPair says only that there is nothing to recover,
// or nothing to recover it with.
func nothingToRecover(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

func (t *tool) crtRenew() *cli.Command {
	return &cli.Command{
		Name:      "renew",
		Usage:     "replace a certificate that expires soon, and its key",
		ArgsUsage: "CRT [KEY]",
		Flags: []cli.Flag{
			keyFlag(),
			chainFlag(),
			waitFlag("for a daemon that has no time now, or allows no more renewals yet"),
			&cli.BoolFlag{Name: "force", Usage: "renew also what is valid for long"},
		},
		Action: t.action(t.renew),
	}
}

// orphaned reports whether the CA that has issued a certificate was withdrawn, as those that an update has left in the store say. If they
// cannot be asked it counts as withdrawn, and what is asked for then says why.
func (t *tool) orphaned(ctx context.Context, crt *x509.Certificate) bool {
	stored, err := t.caStore.ReadCertificates()
	if err != nil || !client.Orphaned(crt, stored) {
		return false
	}
	c, err := t.connect()
	if err != nil {
		return true
	}
	withdrawn, err := c.IssuerWithdrawn(ctx, crt, stored)
	return withdrawn || err != nil
}

func (t *tool) renew(c *cli.Context) error {
	paths, err := pairPaths(c)
	if err != nil {
		return err
	}
	if paths, err = t.unlock(paths); err != nil {
		return err
	}
	engine := t.engine(paths)
	if err := t.recoverPair(engine); err != nil && !nothingToRecover(err) {
		return err
	}
	from, err := t.readPair(paths)
	if err != nil {
		return err
	}
	old := from.Pair.Crt
	left := old.NotAfter.Sub(t.clock.Now())
	switch {
	case left < 0:
		return manners.WithHint(fmt.Errorf("%s expired %s ago", paths.Crt, duration(-left)),
			"an expired certificate cannot be renewed: make a new one with %s request", toolName)
	case left >= t.threshold && !c.Bool("force") && !t.orphaned(c.Context, old):
		view := t.viewCertificate(old)
		view.File = paths.Crt
		return t.print(view, func(p *printer) {
			p.line("%s: %s; the threshold is not reached, not renewing", paths.Crt, view.Validity)
		})
	}
	if engine.Client, err = t.witnessed(c.Context); err != nil {
		return err
	}
	engine.Chain = c.Bool("chain")
	ctx, wait, cancel := patience(c)
	defer cancel()
	var issue *enroll.Issue
	err = t.persist(ctx, wait, func() (err error) {
		issue, err = engine.Renew(c.Context, from, t.verification())
		return err
	}, enroll.Busy)
	if errors.Is(err, enroll.ErrKeyType) {
		return manners.WithHint(err, "choose the type of the new key with --key-type")
	}
	if err != nil {
		return err
	}
	changed, err := engine.Install(issue)
	t.changed = append(t.changed, changed...)
	if errors.Is(err, enroll.ErrOvertaken) {
		return errReplaced(paths)
	}
	if err != nil {
		return err
	}
	t.holder = issue.Pair
	view := t.viewCertificate(issue.Pair.Crt)
	view.File = paths.Crt
	return t.print(view, func(p *printer) {
		p.line("%s: renewed %s, %s", paths.Crt, subjectOrNames(view.Subject, view.SANs), view.Validity)
	})
}

func (t *tool) crtRevoke() *cli.Command {
	return &cli.Command{
		Name:      "revoke",
		Usage:     "revoke certificates, as their holder or as a user",
		ArgsUsage: "[--key FILE] CRT…, or with --user-key: --other CRT, --serial N",
		Flags: []cli.Flag{
			keyFlag(),
			&cli.StringSliceFlag{Name: "other", TakesFile: true, Usage: "as a user, revoke the certificate in `CRT` without its key (repeatable)"},
			&cli.StringSliceFlag{Name: "serial", Usage: "as a user, revoke serial `NUMBER`, decimal or 0x and hexadecimal (repeatable), of a certificate that the daemon has on record"},
			&cli.BoolFlag{Name: "unknown", Usage: "with --serial, revoke also what the daemon has no record of; a wrong number stays in the revocation list for years"},
			&cli.BoolFlag{Name: "only-this", Usage: "withdraw just these, and not what has renewed them or what they have renewed; --reason superseded does so, too"},
			&cli.StringFlag{Name: "reason", Usage: "one of " + strings.Join(pki.ReasonNames(), ", ")},
		},
		Description: "As a user, what is revoked is the lineage: the certificate and all its renewals, so that nobody goes on with another one of\n" +
			"them. As its holder, the newest certificate takes the others with it, and so does a key that is compromised; an older one\n" +
			"goes alone. cauase lineage show tells what belongs to a lineage.\n\n" +
			"A daemon has no record of what was issued after the backup that it was restored from, by an imported CA elsewhere, or so\n" +
			"long ago that it has expired. A reference daemon does not tell what it has on record: there every number is revoked.",
		Action: t.action(t.revoke),
	}
}

func (t *tool) revoke(c *cli.Context) error {
	others, serials := c.StringSlice("other"), c.StringSlice("serial")
	own, err := fileArguments(c)
	if err != nil {
		return err
	}
	for _, path := range others {
		if err := fileArgument("--other", path); err != nil {
			return err
		}
	}
	if len(own)+len(others)+len(serials) == 0 {
		return errUsage(c, "which certificate?")
	}
	if len(own) > 1 && c.String("key") != "" {
		return errUsage(c, "--key goes with one certificate")
	}
	how := client.Revoking{OnlyThis: c.Bool("only-this")}
	if how.Reason, err = reasonFlag(c); err != nil {
		return err
	}
	var numbers []*big.Int
	for _, s := range serials {
		serial, err := pki.ParseSerial(s)
		if err != nil {
			return fmt.Errorf("--serial: %w", err)
		}
		numbers = append(numbers, serial)
	}
	var session *client.Session
	if len(others)+len(numbers) > 0 {
		var err error
		if session, err = t.session(c.Context); err != nil {
			return err
		}
	}
	service, err := t.connect()
	if err != nil {
		return err
	}
	results := []resultView{}
	report := func(r resultView, failed error) {
		if failed != nil {
			err = join(err, naming(r.File+r.Serial.Text(t.decimal), failed))
			return
		}
		r.Result = "revoked"
		results = append(results, r)
	}
	for _, path := range own {
		paths, failed := t.unlock(pemfile.PairPaths{Crt: path, Key: c.String("key")})
		var from enroll.Files
		if failed == nil {
			from, failed = t.readPair(paths)
		}
		if failed == nil {
			failed = service.Revoke(c.Context, from.Pair.Crt, from.Pair.Key, how)
		}
		r := resultView{File: path}
		if failed == nil {
			r.Certificate = revokedFile(from.Pair.Crt)
		}
		report(r, failed)
	}
	for _, path := range others {
		crt, failed := onlyCertificate(path)
		if failed == nil {
			failed = session.Revoke(c.Context, crt, how)
		}
		r := resultView{File: path}
		if failed == nil {
			r.Certificate = t.inLineage(c.Context, session, revokedFile(crt), crt.SerialNumber)
		}
		report(r, failed)
	}
	for _, serial := range numbers {
		hit, failed := t.onRecord(c.Context, session, serial, c.Bool("unknown"))
		if failed == nil {
			failed = session.RevokeSerial(c.Context, serial, how)
		}
		report(resultView{Serial: manners.SerialOf(serial), Certificate: hit}, failed)
	}
	return t.printResults(err, results)
}

// reasonFlag is what --reason says, 0 for nothing.
func reasonFlag(c *cli.Context) (int, error) {
	name := c.String("reason")
	if name == "" {
		return 0, nil
	}
	name, err := manners.Choice("--reason", name, pki.ReasonNames())
	if err != nil {
		return 0, err
	}
	return pki.ParseReason(name)
}

// someCertificates reads the certificates of a file, of which there has to be one.
func someCertificates(path string) ([]*x509.Certificate, error) {
	content, err := pemfile.Read(path)
	if err != nil {
		return nil, err
	}
	crts, err := pemfile.CertificatesOf(path, content)
	if err == nil && len(crts) == 0 {
		err = fmt.Errorf("%s holds no certificate: %w", path, pki.NoCertificate(content))
	}
	return crts, err
}

// onlyCertificate reads the one certificate of a file, behind which its chain may stand; of
// several, none is the obvious one.
func onlyCertificate(path string) (*x509.Certificate, error) {
	crts, err := someCertificates(path)
	if err != nil {
		return nil, err
	}
	if len(crts) > 1 && !crts[0].IsCA {
		crts = slices.DeleteFunc(crts, func(crt *x509.Certificate) bool { return crt.IsCA })
	}
	if len(crts) != 1 {
		return nil, fmt.Errorf("it holds %d certificates where one is expected", len(crts))
	}
	return crts[0], nil
}

func (t *tool) crtShow() *cli.Command {
	return &cli.Command{
		Name:      "show",
		Usage:     "describe the certificates in files",
		ArgsUsage: "FILE…",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() == 0 {
				return errUsage(c, "which certificate?")
			}
			paths, err := fileArguments(c)
			if err != nil {
				return err
			}
			trusted, err := t.caStore.ReadCertificates()
			if err != nil {
				t.warn("%v", err)
			}
			var views []certificateView
			var unread error
			for _, path := range paths {
				crts, err := someCertificates(path)
				if err != nil {
					unread = join(unread, err)
					continue
				}
				for _, crt := range crts {
					view := t.viewCertificate(crt)
					view.File = path
					view.Trust = t.describeTrust(crt, trusted)
					views = append(views, view)
				}
			}
			return t.printDone(unread, len(views), views, func(p *printer) {
				for i, view := range views {
					if i > 0 {
						p.line("")
					}
					p.certificate(view)
				}
			})
		}),
	}
}

// describeTrust says whether one of trusted has issued crt. Revocation is not checked.
func (t *tool) describeTrust(crt *x509.Certificate, trusted []*x509.Certificate) string {
	if len(trusted) == 0 {
		return "unknown: " + t.caStore.Path + " holds no CA certificate"
	}
	if crt.IsCA {
		for _, ca := range trusted {
			if ca.Equal(crt) {
				return "a CA certificate in " + t.caStore.Path
			}
		}
		return "a CA certificate that is not in " + t.caStore.Path
	}
	if _, err := pki.VerifyIssued(crt, trusted, t.clock.Now()); err != nil {
		return "no: " + err.Error()
	}
	return "yes, by " + t.caStore.Path
}
