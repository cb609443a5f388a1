package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/backup"
	"cauase/pkg/ca"
	"cauase/pkg/caucase"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/dump"
	"cauase/pkg/durable"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
	"cauase/pkg/store/sqlstore"
)

const (
	flagDryRun           = "dry-run"
	flagExpectCA         = "expect-ca"
	flagKeepAutoApproval = "keep-auto-approval"
)

func expectCAFlag() urfave.Flag {
	return &urfave.StringSliceFlag{Name: flagExpectCA, Usage: "refuse BACKUP unless it holds the CA with this `FINGERPRINT`, sha256:…, and its key; repeatable"}
}

// restoreCommand makes a database of a backup.
func restoreCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "restore",
		Usage:     "restore a backup into an empty database",
		ArgsUsage: "BACKUP KEY [CSR CRT]",
		Description: "Decrypts BACKUP, one of cauase or of caucase, with KEY, the private key of somebody who was a user\n" +
			"when it was taken, and fills an empty database with it. That user gives KEY up: its certificate is\n" +
			"revoked, and one for the key of CSR, with the same name, is written to CRT, which must not be there\n" +
			"yet. Everything happens or nothing. Stop the daemon, if there is one left.\n\n" +
			"With --" + flagDryRun + ", BACKUP is read to its end, verified and counted; nothing is written.\n" +
			"What caucase has taken and cannot be used here, such as the request of an RSA key of 1024 bits, is\n" +
			"refused by its name, or left out with --" + flagSkipBadRows + "; never a CA.\n\n" +
			"Anybody who has a user's certificate can encrypt to it: give the fingerprints of CA certificates that\n" +
			"your hosts know with --" + flagExpectCA + ". A backup without one of them, and its key, is refused.\n\n" +
			"Automatic approval is over afterwards, whatever the daemon's options say: what was approved after the\n" +
			"backup is not on record, and would be approved again, for whoever asks first. --" + flagKeepAutoApproval + "\n" +
			"lets it go on from the count that the backup holds.\n\n" +
			"Example:\n" +
			"  cauase-rerequest --template user.csr.pem --key new.key.pem --csr new.csr.pem\n" +
			"  cauased manage restore --db new.sqlite 20260501030000.rows.caucased user.pem new.csr.pem new.crt.pem",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			&urfave.BoolFlag{Name: flagDryRun, Usage: "verify and count, change nothing; CSR and CRT are not needed"},
			passphraseFlag("`FILE` with the passphrase of KEY in its first line, if KEY is encrypted (default: ask)"),
			cli.Days(urfave.Float64Flag{Name: flagUserValidity, EnvVars: env(flagUserValidity), DefaultText: "that of the old one",
				Usage: "`DAYS` the new certificate is valid"}),
			skipBadRowsFlag(),
			expectCAFlag(),
			&urfave.BoolFlag{Name: flagKeepAutoApproval, Usage: "let automatic approval go on from the count that the backup holds"},
			&urfave.BoolFlag{Name: "json", Usage: "print what was restored as a JSON object"},
		},
		Action: func(c *urfave.Context) error {
			const hint = "see cauased manage restore --help"
			switch n := c.NArg(); {
			case c.Bool(flagDryRun) && n != 2 && n != 4:
				return cli.WithHint(errors.New("--"+flagDryRun+" needs BACKUP and KEY"), hint)
			case c.Bool(flagDryRun):
				return dryRun(c, clk, stdout, stderr)
			case n != 4:
				return cli.WithHint(errors.New("BACKUP, KEY, CSR and CRT are needed, in this order"), hint)
			}
			return restore(c, clk, stdout, stderr)
		},
	}
}

// openSealed finds the backup and the key that the first two arguments name.
func openSealed(c *urfave.Context, stderr io.Writer) (manage.Sealed, error) {
	path := c.Args().Get(0)
	expected, err := fingerprints(flagExpectCA, c.StringSlice(flagExpectCA))
	if err != nil {
		return manage.Sealed{}, err
	}
	// Before anybody types a passphrase.
	info, err := os.Stat(path)
	if err != nil {
		return manage.Sealed{}, err
	}
	if !info.Mode().IsRegular() {
		return manage.Sealed{}, fmt.Errorf("%s: not a regular file", path)
	}
	data, err := readInput(c.Args().Get(1))
	if err != nil {
		return manage.Sealed{}, err
	}
	ask := passphrases(c, stderr).Ask
	key, err := manage.ReadHolderKey(manage.File{Name: c.Args().Get(1), Data: data}, ask)
	if err != nil {
		return manage.Sealed{}, err
	}
	open := func() (io.ReadCloser, error) { return os.Open(path) }
	return manage.Sealed{Open: open, Key: key, SkipBadRows: c.Bool(flagSkipBadRows), ExpectCAs: expected}, nil
}

// withBackupHint adds to an error about a backup what can be done.
func withBackupHint(err error, c *urfave.Context) error {
	path := c.Args().Get(0)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, backup.ErrNotRecipient):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "cauase-key-id --backup %s lists the keys that do", path)
	case errors.As(err, new(*caucase.BadRowsError)):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "--%s leaves them out: whoever sent them has to ask again", flagSkipBadRows)
	case errors.Is(err, backup.ErrNotBackup), errors.Is(err, manage.ErrContent), errors.Is(err, caucase.ErrNotCaucase):
		return fmt.Errorf("%s: %w", path, err)
	case errors.Is(err, backup.ErrDamaged), errors.Is(err, dump.ErrInvalid), errors.Is(err, ca.ErrDamaged):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "nothing was restored; use another copy, or the backup before it")
	case errors.Is(err, manage.ErrUnexpectedCAs):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "nothing was written; is it the backup of another CA, or of a time when this one was not yet made?")
	case errors.Is(err, dump.ErrNewer):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "use the version of cauased that wrote it, or a later one")
	case errors.Is(err, manage.ErrNotUser), errors.Is(err, manage.ErrUserRevoked):
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "restore with the key of another user; cauase-key-id --backup %s lists them", path)
	case errors.Is(err, ca.ErrKeyKept), errors.Is(err, ca.ErrConflict):
		return cli.WithHint(fmt.Errorf("%s: %w", c.Args().Get(2), err), "KEY is given up by the restore: make a new key and a request for it, with cauase-rerequest")
	case errors.Is(err, store.ErrExists):
		return cli.WithHint(fmt.Errorf("--%s: something is in %s already", flagDB, sqlstore.Redact(c.String(flagDB))),
			"a backup is restored into an empty database, or a file that is not there yet; to look into the backup, use --%s", flagDryRun)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted: nothing was changed")
	}
	return err
}

func dryRun(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	from, err := openSealed(c, stderr)
	if err != nil {
		return err
	}
	ctx, done := untilSignal(c.Context)
	defer done()
	meter := newRowMeter(clk, stderr)
	contents, err := manage.Inspect(ctx, clk.Now(), from, meter.rows)
	meter.clear()
	if err != nil {
		return withBackupHint(err, c)
	}
	if c.Bool("json") {
		return cli.WriteJSON(stdout, contents)
	}
	p := newPrinter(c, stdout)
	printContents(p, c.Args().First(), contents)
	p.line("Nothing was changed. Verified to its end; %s can restore it.", contents.User)
	return p.err
}

func restore(c *urfave.Context, clk clock.Clock, stdout, stderr io.Writer) error {
	span, err := userSpan(c)
	if err != nil {
		return err
	}
	csr, err := readInput(c.Args().Get(2))
	if err != nil {
		return err
	}
	der, err := pki.RequestOfFile(csr)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().Get(2), err)
	}
	request, err := pki.ParseRequest(pki.EncodeCSRPEM(der))
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().Get(2), err)
	}
	from, err := openSealed(c, stderr)
	if err != nil {
		return err
	}
	if pki.SameKey(from.Key.Public(), request.CSR.PublicKey) {
		return withBackupHint(ca.ErrKeyKept, c)
	}
	if err := from.Probe(); err != nil {
		return withBackupHint(err, c)
	}
	crt, err := durable.Create(c.Args().Get(3), 0o644)
	if err != nil {
		if errors.Is(err, fs.ErrExist) {
			return cli.WithHint(err, "the new certificate replaces nothing: choose another name for it")
		}
		return err
	}
	defer crt.Discard()

	ctx, done := untilSignal(c.Context)
	defer done()
	var restored manage.Restored
	meter := newRowMeter(clk, stderr)
	err = fillDatabase(c, func(st store.Store) (err error) {
		restored, err = manage.Restore(ctx, st, clk, manage.Restoration{
			Backup: from, Request: request, KeepAutoApproval: c.Bool(flagKeepAutoApproval), Span: span, Stage: crt.Set, Progress: meter.rows,
		})
		return err
	})
	meter.clear()
	if err != nil {
		return withBackupHint(err, c)
	}
	// From here on the restore is durable.
	published := crt.Publish()
	if err := printRestored(stdout, c, restored, clk.Now(), published == nil); err != nil {
		return err
	}
	if published != nil {
		return cli.WithHint(fmt.Errorf("the backup is restored, but the new certificate, printed above, could not be written: %w", published),
			"once the daemon runs, this fetches it: cauase --mode user crt get %d FILE", restored.ID)
	}
	return nil
}

func userSpan(c *urfave.Context) (time.Duration, error) {
	if !c.IsSet(flagUserValidity) {
		return 0, nil
	}
	r := &reader{c: c}
	spans := r.spans(flagUserValidity, rollover.DefaultLife)
	return spans.Leaf, r.err
}

// printContents prints what a backup holds.
func printContents(p *printer, path string, contents manage.Contents) {
	created := "of a caucase, which does not say when it was taken"
	if contents.Created != nil {
		created = "taken at " + contents.Created.UTC().Format(time.RFC3339) + " by cauase " + contents.Software
	}
	p.line("%s: %s", path, created)
	for _, row := range contents.Rows {
		if row.Count > 0 {
			p.line("  %-12s %d", row.Kind, row.Count)
		}
	}
	for _, one := range contents.CAs {
		key := ""
		if !one.HasKey {
			key = ", its key erased"
		}
		p.line("CA %s: %s %s, valid until %s%s", one.Authority, one.Fingerprint, one.Subject, one.NotAfter.UTC().Format(time.DateOnly), key)
	}
	for _, subject := range contents.Users {
		p.line("user: %s", subject)
	}
	for _, note := range contents.Notes {
		p.line("note: %s", note)
	}
}

type restoredJSON struct {
	manage.Restored
	PEM   string   `json:"certificate"`
	Lost  []string `json:"lost"`
	Wrote bool     `json:"certificate_written"`
}

func printRestored(w io.Writer, c *urfave.Context, restored manage.Restored, now time.Time, written bool) error {
	if c.Bool("json") {
		return cli.WriteJSON(w, restoredJSON{restored, string(restored.Certificate), restored.Lost(now), written})
	}
	p := newPrinter(c, w)
	printContents(p, c.Args().First(), restored.Contents)
	p.line("")
	p.line("Restored into %s.", sqlstore.Redact(c.String(flagDB)))
	if written {
		p.line("%s is the new certificate of %s. The old one, serial %s, is revoked.", c.Args().Get(3), restored.User, restored.Revoked)
	} else {
		p.line("The new certificate of %s follows. The old one, serial %s, is revoked.", restored.User, restored.Revoked)
		for line := range strings.Lines(string(restored.Certificate)) {
			p.line("%s", strings.TrimSpace(line))
		}
	}
	for _, n := range restored.CRLNumbers {
		p.line("Revocation lists of %s go on with number %d.", n.Authority, n.Number)
	}
	for _, a := range restored.AutoApproval {
		p.line("%s approves no request automatically any more (locked at %d).", a.Authority, a.Count)
	}
	p.line("")
	p.line("What may be lost:")
	for _, lost := range restored.Lost(now) {
		p.line("- %s", lost)
	}
	return p.err
}
