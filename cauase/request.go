package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/durable"
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

With --ssh-host-key, a host proves which one it is by its SSH host key, and with
--proof-crt by a certificate that it has already: rules of the daemon may have it
signed at once, for the names that are its own. Without names, those are asked for.

With --sign, a user signs it at once with the key of --user-key.

While the request awaits a decision, key and request are kept, and the same
command again asks for the certificate again: it exits with 2 for as long as
the request is pending. With --wait it stays until there is a decision. With
--force, key and certificate that are there stay in use until then.

Once a user has rejected the request, the same command says so and why, and exits
with 4, until --again submits it once more, or --force makes a new one.

With --p12 the result is a file that browsers import. The certificate, without its key, is
stored beside it, to be shown or revoked:

  cauase request --sign --cn NAME --eku client --p12 FILE

A common name that is a host's is asked for as a DNS name, too, if no other name
is given, as verifiers look for hosts there only; --no-san leaves it out.`,
		Flags: append(append(nameFlags(),
			&cli.StringFlag{Name: "crt", TakesFile: true, Usage: "store the certificate in `FILE` (default: the common name and .pem), with the key unless --key is given"},
			&cli.StringFlag{Name: "key", TakesFile: true, Usage: "store the key in `FILE` of its own"},
			&cli.StringFlag{Name: "csr", TakesFile: true, Usage: "keep the request in `FILE` (default: that of the certificate, with .csr.pem; with a dot in front in the end where one file holds a service's key and certificate)"},
			&cli.StringFlag{Name: "profile", Usage: "ask for a certificate of this `PROFILE` (default: the authority's)"},
			noSANFlag(),
			chainFlag(),
			inviteFlag(),
			sshHostKeyFlag(),
			&cli.StringFlag{Name: flagProofCrt, TakesFile: true, Usage: "prove who asks by the certificate in `FILE`, of any authority of services of the daemon"},
			&cli.StringFlag{Name: flagProofKey, TakesFile: true, Usage: "the key of that certificate is in `FILE` (default: with the certificate)"},
			encryptFlag(),
			&cli.BoolFlag{Name: "sign", Usage: "sign the request at once, as the user of --user-key"},
			validityFlag("with --sign, "),
			&cli.BoolFlag{Name: "force", Usage: "make a new key where one exists, which it replaces together with the certificate"},
			&cli.BoolFlag{Name: "again", Usage: "submit the request once more that a user has rejected"},
			waitFlag(untilDecided),
			&cli.StringFlag{Name: flagP12, TakesFile: true, Usage: "put key, certificate and the CA certificates behind it into a PKCS #12 `FILE`, for a browser, Windows or Java; without --crt and --key, the key is nowhere else in the end"},
		), p12Flags()...),
		Action: t.action(t.request),
	}
}

// An enrolment is a request in progress, and where its key, request and certificate are kept.
type enrolment struct {
	engine *enroll.Engine
	csr    string // the request's file
	hidden string // what the request's file is called once there is a certificate, if not the same
	*enroll.Request
	undo []func() // what takes back the files this run has written

	p12     *p12Output // the PKCS #12 file that is wanted, too, nil for none
	p12Only bool       // the key is to be in that only
}

func (t *tool) request(c *cli.Context) error {
	if err := spaceBeforeDuration(c); err != nil {
		return err
	}
	if first := c.Args().First(); c.NArg() > 0 {
		return errUsage(c, fmt.Sprintf("%q: names are given with flags, such as --cn or --dns", first))
	}
	how, err := signing(c)
	if err != nil {
		return err
	}
	invitation, err := t.accept(c)
	if err != nil {
		return err
	}
	if invitation != nil && how != nil {
		return errUsage(c, "--sign and --invite exclude each other: either signs at once")
	}
	proving, err := t.proving(c)
	if err != nil {
		return err
	}
	if proving != nil && (invitation != nil || how != nil) {
		return errUsage(c, "a proof of who asks is for the daemon's rules to decide by; with --sign or --invite they are not asked")
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
	if err != nil {
		return err
	}
	if done {
		return t.already(r, from.Pair)
	}
	if r.Request == nil {
		if added := t.addHost(c, wanted, invitation); added != "" {
			t.note("asking for %s, too, as verifiers do not look for hosts in the common name; --no-san leaves it out", added)
		}
	}
	r.engine.Invitation, r.engine.Proving = invitation, proving
	if err := t.meet(c.Context, r, how != nil); err != nil {
		return err
	}
	ctx, wait, cancel := patience(c)
	defer cancel()
	if err := t.submit(ctx, c.Context, r, wanted, from, c.Bool("force"), wait); err != nil {
		return err
	}
	if !t.json {
		fmt.Fprintf(t.stdout, "%s %s\n", r.ID, r.csr)
	}
	if how != nil {
		if err := t.signOwn(ctx, r, *how, wait); err != nil {
			return err
		}
	}
	err = t.collect(ctx, r, wait)
	if err == nil && invitation != nil {
		t.trustOthers(c.Context, invitation)
	}
	if err == nil && r.hidden != "" && r.hidden != r.csr {
		return durable.Rename(r.csr, r.hidden)
	}
	return err
}

// meet brings trust up to date, and opens a session where the request is to be signed by the user who makes it.
func (t *tool) meet(ctx context.Context, r *enrolment, sign bool) (err error) {
	switch invitation := r.engine.Invitation; {
	case sign:
		if r.engine.User, err = t.session(ctx); err == nil {
			// The user decides, whoever has decided before.
			r.engine.Client, r.engine.Again = t.client, true
		}
	case invitation == nil:
		if r.engine.Client, err = t.witnessed(ctx); err == nil && r.engine.Proving != nil {
			r.engine.Proving.CAs = t.trusted
		}
	case !t.clock.Now().Before(invitation.Until):
		err = manners.WithHint(fmt.Errorf("the invitation has ended %s", invitation.Until.Format(time.RFC3339)), "ask whoever has invited you for another one")
	default:
		r.engine.Client, r.engine.InvitedCAs, err = t.trustInvited(ctx, invitation)
	}
	return err
}

// hide has the request's file get a name with a dot in front in the end. Files with the key and certificate of a service are what
// servers such as HAProxy load by the folder, and they do not start with a request among them. It stays for
// the same command to find.
func (r *enrolment) hide() {
	r.hidden = filepath.Join(filepath.Dir(r.csr), "."+filepath.Base(r.csr))
	if _, err := os.Lstat(r.csr); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(r.hidden); err == nil {
			r.csr = r.hidden
		}
	}
}

func (t *tool) requestPaths(c *cli.Context) (*enrolment, error) {
	crt := c.String("crt")
	archive := c.String(flagP12)
	if crt == "" && archive != "" {
		crt = stem(archive) + ".pem"
	}
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
	r := &enrolment{csr: c.String("csr"), p12Only: archive != "" && !c.IsSet("crt") && !c.IsSet("key")}
	if r.p12Only {
		pair.Key = workingKey(archive)
	}
	if r.csr == "" {
		stem := strings.TrimSuffix(strings.TrimSuffix(crt, ".pem"), ".crt")
		r.csr = stem + ".csr.pem"
		if pair.Key == "" && t.authority != client.CAU {
			r.hide()
		}
	}
	if pair.Key != "" && sameFile(pair.Key, crt) {
		pair.Key = "" // one file, spelt in two ways
	}
	if sameFile(r.csr, crt) || pair.Key != "" && sameFile(r.csr, pair.Key) {
		return nil, fmt.Errorf("--csr %s: the request needs a file of its own", r.csr)
	}
	for _, path := range []string{crt, pair.Key, r.csr} {
		if path != "" && archive != "" && sameFile(path, archive) {
			return nil, fmt.Errorf("--%s %s: the PKCS #12 file needs a file of its own", flagP12, archive)
		}
	}
	for _, path := range []string{crt, pair.Key, r.csr, archive} {
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
	if err := t.wantP12(c, r); err != nil {
		return nil, err
	}
	r.engine = t.engine(pair)
	r.engine.CSR, r.engine.Profile, r.engine.Chain, r.engine.Again = r.csr, c.String("profile"), c.Bool("chain"), c.Bool("again")
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
// it may be signed at once, and only once. It tries again until limit ends, if it may wait; a try that has begun is let finish.
func (t *tool) submit(limit, ctx context.Context, r *enrolment, wanted *x509.CertificateRequest, from enroll.Files, force, wait bool) error {
	if err := r.write(wanted, from, force); err != nil {
		r.rollBack()
		return err
	}
	err := t.persist(limit, wait, func() error { return r.engine.Submit(ctx, r.Request) }, enroll.Busy)
	switch {
	case err == nil:
		t.vouched = t.vouched || r.engine.Invitation != nil
		return nil
	case errors.Is(err, enroll.ErrRejected):
		return t.rejected(r, err)
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
	if len(r.undo) == 0 { // of an earlier run, since which the files may have become another's
		if err := r.engine.Paths.Check(); err != nil {
			return err
		}
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
	err := t.decision(ctx, wait, r.ID, func() (err error) {
		issue, err = r.engine.Collect(ctx, r.Request, t.verification())
		return err
	})
	switch {
	case err == nil:
		for _, diff := range issue.Differences {
			t.note("signed with changes: %s", diff)
		}
		changed, err := r.engine.Install(issue)
		if err == nil && r.p12 != nil {
			err = t.bundle(r, issue.Pair)
		}
		return t.stored(r.engine.Paths, issue.Pair.Crt, r.ID, changed, err)
	case errors.Is(err, enroll.ErrRejected):
		return t.rejected(r, err)
	case undecided(ctx, err):
		return t.leftPending(ctx, r)
	}
	return err
}

// leftPending ends a command while nobody has decided on its request.
func (t *tool) leftPending(ctx context.Context, r *enrolment) error {
	return t.pending(ctx, resultView{ID: r.ID.String(), File: r.csr},
		fmt.Sprintf("a user of the CA signs it with %s csr sign %s%s --user-key FILE; then the same command again stores the certificate", toolName, r.ID, t.authorityFlag()))
}

// pending is the end of a command of which a request is pending, with its id, by which it goes on.
func (t *tool) pending(ctx context.Context, view resultView, hint string) error {
	if view.Result = resultPending; t.json {
		if err := t.print(view, nil); err != nil {
			return err
		}
	}
	how := "is pending"
	if ctx.Err() != nil {
		how = "was left pending"
	}
	return manners.WithCode(manners.WithHint(fmt.Errorf("request %s %s", view.ID, how), "%s", hint), manners.ExitPending)
}

// rejected says that a user has decided against a request. Where the daemon remembers that, key and request stay, so that the
// same command again is answered with it; otherwise nothing of this run does.
func (t *tool) rejected(r *enrolment, err error) error {
	view := resultView{File: r.csr}
	if r.ID != 0 {
		view.ID = r.ID.String()
	}
	if why := (*client.Rejection)(nil); !errors.As(err, &why) {
		r.rollBack()
	}
	view, err = rejection(view, err, "--again submits it once more; --force makes a new key and request")
	if t.json {
		if err := t.print(view, nil); err != nil {
			return err
		}
	}
	return err
}

// rejection completes the result of a command whose request a user has rejected, and says so, with what can be done where
// the daemon tells why.
func rejection(view resultView, err error, hint string) (resultView, error) {
	view.Result = resultRejected
	what := cmp.Or(view.ID, "in "+view.File)
	if why := (*client.Rejection)(nil); errors.As(err, &why) {
		view.RejectedAt, view.Reason = &why.At, why.Reason
		err = fmt.Errorf("request %s was rejected on %s", what, timeText(why.At))
		if why.Reason != "" {
			err = fmt.Errorf("%w: %s", err, why.Reason)
		}
	} else {
		err, hint = fmt.Errorf("request %s was rejected, or is long forgotten", what), "ask the CA's administrators why"
	}
	if hint != "" {
		err = manners.WithHint(err, "%s", hint)
	}
	return view, manners.WithCode(err, manners.ExitRejected)
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
