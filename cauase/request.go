package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/enroll"
	"cauase/pkg/pemfile"

	manners "cauase/pkg/cli"
)

func (t *tool) requestCommand() *cli.Command {
	return &cli.Command{
		Name:  "request",
		Usage: "make a key, request a certificate for it, and store the certificate",
		Description: `Everything one needs to get a certificate. The key is made here and stays here.

With --invite the request is signed at once, if the invitation is for its names; without names,
the one that the invitation is for is asked for.

While the request awaits a decision, key and request are kept, and the same
command again asks for the certificate again: it exits with 2 for as long as
the request is pending. With --wait it stays until there is a decision. With
--force, key and certificate that are there stay in use until then.`,
		Flags: append(nameFlags(),
			&cli.StringFlag{Name: "crt", TakesFile: true, Usage: "store the certificate in `FILE` (default: the common name and .pem), with the key unless --key is given"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "store the key in `FILE` of its own"},
			&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "keep the request in `FILE` (default: that of the certificate, with .csr.pem)"},
			&cli.StringFlag{Name: "profile", Usage: "ask for a certificate of this `PROFILE` (default: the authority's)"},
			chainFlag(),
			inviteFlag(),
			encryptFlag(),
			&cli.BoolFlag{Name: "force", Usage: "make a new key where one exists, which it replaces together with the certificate"},
			&cli.BoolFlag{Name: "wait", Usage: "wait until the request is signed or rejected"},
		),
		Action: t.action(t.request),
	}
}

// An enrolment is a request in progress, and where its key, request and certificate are kept.
type enrolment struct {
	engine *enroll.Engine
	csr    string // the request's file
	*enroll.Request
	undo []func() // what takes back the files this run has written
}

func (t *tool) request(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: names are given with flags, such as --cn or --dns", c.Args().First()))
	}
	invitation, err := t.accept(c)
	if err != nil {
		return err
	}
	r, err := t.requestPaths(c)
	if err != nil {
		return err
	}
	wanted, err := template(c)
	if err != nil {
		return err
	}
	from, done, err := t.prepare(r, wanted, c.Bool("force"))
	if err != nil || done {
		return err
	}
	switch r.engine.Invitation = invitation; {
	case invitation == nil:
		r.engine.Client, err = t.trust(c.Context)
	case !t.clock.Now().Before(invitation.Until):
		err = manners.WithHint(fmt.Errorf("the invitation has ended %s", invitation.Until.Format(time.RFC3339)), "ask whoever has invited you for another one")
	default:
		r.engine.Client, r.engine.InvitedCAs, err = t.trustInvited(c.Context, invitation)
	}
	if err != nil {
		return err
	}
	if err := t.submit(c.Context, r, wanted, from, c.Bool("force")); err != nil {
		return err
	}
	if !t.json {
		fmt.Fprintf(t.stdout, "%s %s\n", r.ID, r.csr)
	}
	err = t.collect(c.Context, r, c.Bool("wait"))
	if err == nil && invitation != nil {
		t.trustOthers(c.Context, invitation)
	}
	return err
}

func (t *tool) requestPaths(c *cli.Context) (*enrolment, error) {
	crt := c.String("crt")
	if crt == "" {
		name := c.String("cn")
		if name == "" {
			name = strings.TrimPrefix(firstOf(c.StringSlice("dns")), "*.")
		}
		if name == "" || strings.Trim(name, fileNameLetters) != "" || strings.HasPrefix(name, ".") {
			return nil, errUsage(c, "where to store the certificate? give --crt FILE, or a --cn that can be a file name")
		}
		crt = name + ".pem"
	}
	pair := pemfile.PairPaths{Crt: crt, Key: c.String("key")}
	r := &enrolment{csr: c.String("csr")}
	if r.csr == "" {
		stem := strings.TrimSuffix(strings.TrimSuffix(crt, ".pem"), ".crt")
		r.csr = stem + ".csr.pem"
	}
	if pair.Key != "" && sameFile(pair.Key, crt) {
		pair.Key = "" // one file, spelt in two ways
	}
	if sameFile(r.csr, crt) || pair.Key != "" && sameFile(r.csr, pair.Key) {
		return nil, fmt.Errorf("--csr %s: the request needs a file of its own", r.csr)
	}
	for _, path := range []string{crt, pair.Key, r.csr} {
		if path != "" && (sameFile(path, t.caStore.Path) || sameFile(path, t.crlStore.Path) || sameFile(path, t.rootStore.Path)) {
			return nil, manners.WithHint(fmt.Errorf("%s is for what comes from the CA", path), "choose another file")
		}
	}
	pair, err := t.unlock(pair)
	if err == nil && c.Bool("encrypt") {
		pair, err = t.lockNew(pair, c.Bool("force"))
	}
	if err != nil {
		return nil, err
	}
	r.engine = t.engine(pair)
	r.engine.CSR, r.engine.Profile, r.engine.Chain = r.csr, c.String("profile"), c.Bool("chain")
	return r, nil
}

// sameFile reports whether two paths name one file, whether it exists or not.
func sameFile(a, b string) bool {
	if infoA, err := os.Stat(a); err == nil {
		infoB, err := os.Stat(b)
		return err == nil && os.SameFile(infoA, infoB)
	}
	folderA, errA := os.Stat(filepath.Dir(a))
	folderB, errB := os.Stat(filepath.Dir(b))
	return filepath.Base(a) == filepath.Base(b) && errA == nil && errB == nil && os.SameFile(folderA, folderB)
}

const fileNameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@"

func firstOf(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// submit makes what the daemon is asked with durable, key and request, and hands the request in:
// it may be signed at once, and only once.
func (t *tool) submit(ctx context.Context, r *enrolment, wanted *x509.CertificateRequest, from enroll.Files, force bool) error {
	if err := r.write(wanted, from, force); err != nil {
		r.rollBack()
		return err
	}
	err := r.engine.Submit(ctx, r.Request)
	switch {
	case err == nil:
		t.vouched = t.vouched || r.engine.Invitation != nil
		return nil
	case enroll.Refused(err):
		r.rollBack()
		return err
	}
	// Nobody knows whether it arrived.
	return manners.WithHint(err, "key and request are kept in %s and %s; the same command again goes on with them", r.engine.Paths.KeyPath(), r.csr)
}

// write puts key and request on disk, where they are not of an earlier run.
func (r *enrolment) write(wanted *x509.CertificateRequest, from enroll.Files, force bool) (err error) {
	if r.Request == nil {
		if force {
			if err := r.engine.Restart(); err != nil {
				return err
			}
		}
		restore := restorer(r.csr, false)
		if r.Request, err = r.engine.NewRequest(wanted, from, nil); err != nil {
			return err
		}
		r.undo = append(r.undo, restore, func() { _ = r.engine.Withdraw(r.Request) })
	}
	keyFile := r.engine.Paths.KeyPath()
	restore, staged := restorer(keyFile, true), r.Staged
	switch err := r.engine.Place(r.Request); {
	case errors.Is(err, enroll.ErrOvertaken):
		return fmt.Errorf("%s has got a private key meanwhile, from another run", keyFile)
	case err != nil:
		return err
	}
	if staged && !r.Staged {
		r.undo = append(r.undo, restore)
	}
	return nil
}

// restorer returns a function that restores the file to its present content.
func restorer(path string, secret bool) func() {
	old, err := pemfile.Read(path)
	if err != nil {
		return func() { _ = os.Remove(path) }
	}
	return func() { _, _ = pemfile.Write(pemfile.File{Path: path, Content: old, Secret: secret}) }
}

// rollBack restores the files that this run has written.
func (r *enrolment) rollBack() {
	for _, undo := range slices.Backward(r.undo) {
		undo()
	}
	r.undo = nil
}

// collect fetches the certificate, which is verified, and stores it.
func (t *tool) collect(ctx context.Context, r *enrolment, wait bool) error {
	var issue *enroll.Issue
	var err error
	if wait {
		issue, err = r.engine.Await(ctx, r.Request, t.verification(), func(try int, err error) {
			if !errors.Is(err, client.ErrPending) {
				t.warn("%v; trying again", err)
			} else if try == 0 {
				t.note("waiting for a decision on request %s", r.ID)
			}
		})
	} else {
		issue, err = r.engine.Collect(ctx, r.Request, t.verification())
	}
	switch {
	case err == nil:
		for _, diff := range issue.Differences {
			t.note("signed with changes: %s", diff)
		}
		return t.install(r.engine, issue, r.ID)
	case errors.Is(err, enroll.ErrRejected):
		r.rollBack()
		return manners.WithHint(fmt.Errorf("request %s was rejected", r.ID), "ask the CA's administrators why")
	case ctx.Err() != nil:
		return t.pending(r, "was left pending")
	case errors.Is(err, client.ErrPending):
		return t.pending(r, "is pending")
	}
	return err
}

func (t *tool) pending(r *enrolment, how string) error {
	if t.json {
		if err := t.print(resultView{ID: r.ID.String(), File: r.csr, Result: "pending"}, nil); err != nil {
			return err
		}
	}
	err := fmt.Errorf("request %s %s", r.ID, how)
	return manners.WithCode(manners.WithHint(err, "a user of the CA signs it with %s csr sign %s%s --user-key FILE; then the same command again stores the certificate", toolName, r.ID, t.authorityFlag()), manners.ExitPending)
}

// authorityFlag is what a command about the same authority needs.
func (t *tool) authorityFlag() string {
	switch t.authority {
	case client.CAS:
		return ""
	case client.CAU:
		return " --mode user"
	}
	return " --authority " + string(t.authority)
}
