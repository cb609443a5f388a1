package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
)

const (
	flagField = "field"
	flagYears = "years"
	flagRoot  = "root"
)

// attributes are those of a subject as they are given, one at a time: their values may have commas.
type attributes []string

// Set adds one.
func (a *attributes) Set(text string) error {
	if text == "" {
		return errors.New("is empty")
	}
	*a = append(*a, text)
	return nil
}

func (a *attributes) String() string { return strings.Join(*a, " ") }

// Serialize is what the library sets for the flag's other name, which has the same value already.
func (a *attributes) Serialize() string { return "" }

// createIdentityCommand makes a CA in a folder.
func createIdentityCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "create-identity",
		Usage:     "make a CA in a folder of its own, without a daemon",
		ArgsUsage: "DIRECTORY",
		Description: "Makes a CA with a new key in DIRECTORY, which must not be there yet, or be empty:\n\n" +
			"  ca.cert.pem         the certificate, self-signed, for certificates of hosts and users\n" +
			"  ca.csr.pem          a request with the same name and key, for a CA above it\n" +
			"  ca.private_key.pem  the key, encrypted with a passphrase (PKCS #8, PBKDF2, AES-256)\n" +
			"  ca.public_key.pem   what belongs to it\n\n" +
			"The folder has mode 0750, the files 0640: their group may read them. The passphrase is asked for, unless\n" +
			"--" + flagPassphraseFile + " or the environment variable " + identityPassphrase + " has it. If\n" +
			"anything goes wrong there is no DIRECTORY. import-identity begins an authority with it.\n\n" +
			"Example:\n" +
			"  cauased manage create-identity /srv/ca -f C=FR -f O=Example -f \"CN=Example Services\" --years 10",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			&urfave.GenericFlag{Name: flagField, Value: &attributes{}, Aliases: []string{"f"}, Usage: "`TYPE=VALUE` of the subject, the most general first, repeatable: C, ST, L, O, OU, DC, CN, serialNumber"},
			cli.Int(urfave.IntFlag{Name: flagYears, Value: 10, Usage: fmt.Sprintf("`COUNT` of years it is valid, at most %d", manage.MaxIdentityYears)}),
			&urfave.StringFlag{Name: flagKeyType, Value: string(pki.DefaultKeyType), Usage: "`TYPE` of its key: " + keyTypes()},
			&urfave.BoolFlag{Name: flagRoot, Usage: "let it certify other CAs, for an authority with the role root"},
			passphraseFlag("read the passphrase from the first line of `FILE` instead of asking"),
		},
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("a directory is needed"), "see cauased manage create-identity --help")
			}
			return createIdentity(c, clk.Now(), stdout, stderr)
		},
	}
}

func createIdentity(c *urfave.Context, now time.Time, stdout, stderr io.Writer) error {
	dir := c.Args().First()
	var fields attributes
	if given, ok := c.Generic(flagField).(*attributes); ok {
		fields = *given
	}
	if len(fields) == 0 {
		return cli.WithHint(errors.New("--field: a CA needs a name"), "give at least one, such as -f \"CN=Example Services\"")
	}
	subject, err := manage.IdentitySubject(fields)
	if err != nil {
		return fmt.Errorf("--%s: %w", flagField, err)
	}
	name, err := cli.Choose(c.String(flagKeyType), keyTypeNames())
	if err != nil {
		return fmt.Errorf("--%s: %w", flagKeyType, err)
	}
	years := c.Int(flagYears)
	if years < 1 || years > manage.MaxIdentityYears {
		return fmt.Errorf("--%s: %d is not a number of years from 1 to %d", flagYears, years, manage.MaxIdentityYears)
	}
	crt, err := manage.CreateIdentity(now, manage.Identity{
		Directory: dir, Subject: subject, KeyType: pki.KeyType(name), Years: years, Root: c.Bool(flagRoot),
		Passphrase: func() ([]byte, error) { return identityPassphrases(c, stderr).Choose("the key in " + dir) },
	})
	if errors.Is(err, fs.ErrExist) {
		return cli.WithHint(err, "give a directory that is not there yet, or is empty")
	} else if err != nil {
		return err
	}
	view := movedCAsJSON{File: dir, Certificates: viewCAs([]*x509.Certificate{crt}), Notes: []string{}}
	return show(c, stdout, view, func(p *printer) {
		p.line("%s: made %s, valid until %s", pki.EscapeText(strings.TrimRight(dir, "/")), pki.SubjectString(crt.RawSubject), crt.NotAfter.UTC().Format(time.DateOnly))
	})
}

// importIdentityCommand begins an authority with the CA in a folder.
func importIdentityCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "import-identity",
		Usage:     "begin an authority with the CA in a folder",
		ArgsUsage: "DIRECTORY",
		Description: "Takes the CA from the files " + manage.IdentityCertificate + " and " + manage.IdentityKey + " in DIRECTORY, by the rules of\n" +
			"import-ca, and nothing else from there. The folder is only read: create-identity may have made it, or\n" +
			"somebody else. The passphrase of an encrypted key is asked for, unless --" + flagPassphraseFile + " or the\n" +
			"environment variable " + identityPassphrase + " has it.\n\n" +
			"Example:\n" +
			"  cauased manage import-identity /srv/old-ca",
		HideHelpCommand: true,
		Flags:           importCAFlags(),
		Action: func(c *urfave.Context) error {
			if c.NArg() != 1 {
				return cli.WithHint(errors.New("a directory is needed"), "see cauased manage import-identity --help")
			}
			return importCA(c, clk.Now(), stdout, stderr, identityPassphrases(c, stderr), manage.IdentityFiles(c.Args().First()))
		},
	}
}
