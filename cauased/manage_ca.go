package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

const (
	flagAuthority   = "authority"
	flagImportBadCA = "import-bad-ca"
)

func authorityFlag() urfave.Flag {
	return &urfave.StringFlag{Name: flagAuthority, Value: defaultAuthority, Usage: "of the authority `NAME`; cauased manage status lists them"}
}

func importCAFlags() []urfave.Flag {
	return []urfave.Flag{
		dbFlag(),
		authorityFlag(),
		passphraseFlag("read the passphrase of encrypted keys from the first line of `FILE` instead of asking"),
		importBadCAFlag(),
	}
}

func importBadCAFlag() urfave.Flag {
	return &urfave.BoolFlag{Name: flagImportBadCA, Usage: "also take a certificate that should not be one of a CA"}
}

// readKeyPairs reads CA certificates and their keys from files.
func readKeyPairs(secret cli.Passphrases, paths []string) ([]manage.KeyPair, error) {
	files, err := readInputs(paths)
	if err != nil {
		return nil, err
	}
	pairs, err := manage.ReadKeyPairs(files, secret.Ask)
	if errors.Is(err, manage.ErrUnpaired) {
		return nil, cli.WithHint(err, "give all files at once, each key with its certificate, and each of them once")
	}
	return pairs, err
}

// importCACommand gives an authority CA certificates that exist already.
func importCACommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "import-ca",
		Usage:     "begin an authority with CA certificates and keys from elsewhere",
		ArgsUsage: "FILE…",
		Description: "Takes CA certificates and their keys from PEM files, in any order, in one file or several. Each\n" +
			"key needs its certificate and each certificate its key; keys may be encrypted. The authority must not\n" +
			"have a CA yet: do this before cauased is started for the first time.\n\n" +
			"Of several CAs each vouches for the next younger one, as if they had been made here. cauased signs with\n" +
			"them from then on. When the youngest has two certificate validities left, it makes a new one, with the\n" +
			"same subject and extensions and a key of the same type. Expired certificates are left out.\n\n" +
			"A certificate is refused if its basic constraints (critical, CA) or key usage (signing certificates\n" +
			"and CRLs) are not those of a CA, if it is not signed by its own key, or names another one as that of its\n" +
			"signer, if it has no subject or subject key identifier, a critical extension that nobody knows, or\n" +
			"another subject than the CA before it.\n" +
			"--" + flagImportBadCA + " takes it all the same, and says which clients will not trust it. Weak keys, and\n" +
			"what is not valid yet, are never taken.\n\n" +
			"Examples:\n" +
			"  cauased manage import-ca ca.crt.pem ca.key.pem\n" +
			"  cauased manage import-ca --passphrase-file /run/secrets/ca old-and-new-ca.pem",
		HideHelpCommand: true,
		Flags:           importCAFlags(),
		Action: func(c *urfave.Context) error {
			if c.NArg() == 0 {
				return cli.WithHint(errors.New("one or more files are needed"), "see cauased manage import-ca --help")
			}
			return importCA(c, clk.Now(), stdout, stderr, passphrases(c, stderr), c.Args().Slice())
		},
	}
}

func importCA(c *urfave.Context, now time.Time, stdout, stderr io.Writer, secret cli.Passphrases, paths []string) error {
	hint := "see cauased manage " + c.Command.Name + " --help"
	name, err := importTarget(c, now)
	if err != nil {
		return cli.WithHint(err, "%s", hint)
	}
	pairs, err := readKeyPairs(secret, paths)
	if err != nil {
		return err
	}
	var done manage.ImportedCAs
	err = fillDatabase(c, func(st store.Store) (err error) {
		done, err = manage.ImportCAs(c.Context, st, now, manage.CAImport{Authority: name, Pairs: pairs, AllowUnfit: c.Bool(flagImportBadCA)})
		return err
	})
	switch {
	case errors.Is(err, store.ErrExists):
		return cli.WithHint(err, "a CA is imported before there is another: for what every daemon has, give a new database with --%s, before cauased is started for the first time; "+
			"for a further authority, cauased manage authority add --%s adds it with its CA", flagDB, flagImport)
	case errors.Is(err, manage.ErrUnfit) && !c.Bool(flagImportBadCA):
		return cli.WithHint(err, "if it has to be this one, --%s takes it", flagImportBadCA)
	case err != nil:
		return err
	}
	for _, note := range done.Notes {
		remark(stderr, "note", "%s", note)
	}
	view := movedCAsJSON{Authority: string(name), Certificates: viewCAs(done.Certificates), Notes: append([]string{}, done.Notes...)}
	return show(c, stdout, view, func(p *printer) {
		for _, crt := range done.Certificates {
			p.line("%s: imported %s, valid from %s until %s", name, pki.SubjectString(crt.RawSubject),
				crt.NotBefore.UTC().Format(time.DateOnly), crt.NotAfter.UTC().Format(time.DateOnly))
		}
	})
}

// importCRLCommand takes over what a CA has revoked elsewhere.
func importCRLCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "import-crl",
		Usage:     "take over revocation lists of imported CAs",
		ArgsUsage: "FILE…",
		Description: "Adds what is listed in PEM files of revocation lists to what the authority has revoked. Each list has\n" +
			"to be signed by one of the authority's CAs, with SHA-256 or better, and about all of its certificates.\n" +
			"The authority's next list has a larger number than all of them.\n\n" +
			"Example:\n" +
			"  cauased manage import-ca ca.pem && cauased manage import-crl crl.pem",
		HideHelpCommand: true,
		Flags:           []urfave.Flag{dbFlag(), authorityFlag()},
		Action: func(c *urfave.Context) error {
			if c.NArg() == 0 {
				return cli.WithHint(errors.New("one or more files are needed"), "see cauased manage import-crl --help")
			}
			files, err := readInputs(c.Args().Slice())
			if err != nil {
				return err
			}
			var authority store.AuthorityName
			var done manage.ImportedCRLs
			err = withAuthority(c, nil, func(db store.Store, name store.AuthorityName) (err error) {
				authority = name
				done, err = manage.ImportCRLs(c.Context, db, clk, name, files, "")
				return err
			})
			if errors.Is(err, ca.ErrForeignList) {
				return cli.WithHint(err, "import the CA first, with cauased manage import-ca, or give --%s", flagAuthority)
			} else if err != nil {
				return err
			}
			for _, why := range done.LeftOut {
				remark(stderr, "note", "left out: %s", why)
			}
			warnRevoked(stderr, authority, done.Revoked)
			view := importedListsJSON{Authority: string(authority), Lists: done.Lists, Added: done.Added, Known: done.Known, Number: done.Number,
				LeftOut: append([]string{}, done.LeftOut...), Revoked: viewRevokedCAs(done.Revoked)}
			return show(c, stdout, view, func(p *printer) {
				p.line("%s: %s with %s, %d of them known already; the next list has number %d or more",
					authority, plural(done.Lists, "list"), plural(done.Added+done.Known, "revocation"), done.Known, done.Number)
			})
		},
	}
}

// exportCACommand writes an authority's CAs to a file.
func exportCACommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "export-ca",
		Usage:     "write an authority's CA certificates and their keys to a file",
		ArgsUsage: "FILE",
		Description: "Writes a new PEM file, readable by its owner only: each CA certificate followed by its key, which is\n" +
			"encrypted with a passphrase (PKCS #8, PBKDF2, AES-256). import-ca and openssl read it. A FILE that is\n" +
			"there already is not touched. CAs that have expired and whose keys are erased are left out.\n\n" +
			"Whoever has the file and the passphrase can issue whatever they like.\n\n" +
			"Examples:\n" +
			"  cauased manage export-ca cas.pem\n" +
			"  cauased manage export-ca --authority cau --passphrase-file /run/secrets/ca cau.pem",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(),
			authorityFlag(),
			passphraseFlag("read the passphrase from the first line of `FILE` instead of asking"),
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("one file is needed"), "see cauased manage export-ca --help")
			}
			path := c.Args().First()
			// Before a passphrase is asked for in vain.
			if _, err := os.Lstat(path); err == nil {
				return cli.WithHint(fmt.Errorf("%s: %w", path, fs.ErrExist), "give a file that is not there yet")
			}
			var authority store.AuthorityName
			var done manage.ExportedCAs
			err := withAuthority(c, nil, func(db store.Store, name store.AuthorityName) (err error) {
				authority = name
				done, err = exportCA(c, db, clk, stderr, name)
				return err
			})
			if err != nil {
				return err
			}
			for _, why := range done.LeftOut {
				remark(stderr, "note", "left out: %s", why)
			}
			view := movedCAsJSON{Authority: string(authority), File: path, Certificates: viewCAs(done.Certificates), Notes: append([]string{}, done.LeftOut...)}
			return show(c, stdout, view, func(p *printer) {
				for _, crt := range done.Certificates {
					p.line("%s: exported %s, valid until %s", authority, pki.SubjectString(crt.RawSubject), crt.NotAfter.UTC().Format(time.DateOnly))
				}
			})
		},
	}
}

func exportCA(c *urfave.Context, db store.Store, clk clock.Clock, stderr io.Writer, name store.AuthorityName) (manage.ExportedCAs, error) {
	passphrase, err := passphrases(c, stderr).Choose(c.Args().First())
	if err != nil {
		return manage.ExportedCAs{}, err
	}
	return manage.ExportCAs(c.Context, db, clk.Now(), manage.CAExport{Authority: name, Path: c.Args().First(), Passphrase: passphrase})
}
