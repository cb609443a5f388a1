package main

import (
	"bufio"
	"context"
	"crypto"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/backup"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

const tool = "cauase-key-id"

const (
	flagKey    = "private-key"
	flagBackup = "backup"
	flagPlain  = "plain"
	flagJSON   = "json"
	flagCA     = "ca-crt"
	flagDB     = "db"
)

func run(ctx context.Context, args []string, clk clock.Clock, stdout, stderr io.Writer) int {
	app := newApp(clk, stdout, stderr)
	return cli.Report(cli.Messages(stderr, args, ""), tool, cli.Run(ctx, app, cli.Arrange(args, app.Flags)))
}

func newApp(clk clock.Clock, stdout, stderr io.Writer) *urfave.App {
	app := cli.NewApp(tool, "identify keys, and those that can decrypt a backup", stdout, stderr)
	app.UsageText = tool + " [--private-key FILE…] [--backup FILE…] [--ca-crt PATH…] [--db DB]"
	app.Description = `A backup is decrypted with the key of one of the users it was made for. This shows whose key that is.
Identifiers are the SHA-1 of the public key (RFC 5280 4.2.1.2), which certificates carry as
their subject key identifier. They are printed as caucase-key-id does, b'…'; --plain leaves
that out.

With --ca-crt or --db, the users follow to whom a key belongs: subject, serial number and
validity of each certificate for it that is found there. A backup's list of keys is a claim
that nothing protects; only decrypting proves that a key is among them.`
	app.Flags = []urfave.Flag{
		cli.Several(urfave.StringSliceFlag{Name: flagKey, TakesFile: true,
			Usage: "identify the key in `FILE`: a private key, also with its certificate, or else one certificate or signing request (several may follow)"}),
		cli.Several(urfave.StringSliceFlag{Name: flagBackup, TakesFile: true,
			Usage: "list the keys that can decrypt the backup in `FILE` (several may follow)"}),
		cli.Several(urfave.StringSliceFlag{Name: flagCA, TakesFile: true,
			Usage: "name users by the certificates in `PATH`, a file or directory; of CA certificates among them, one must have issued each (several may follow)"}),
		&urfave.StringFlag{Name: flagDB, TakesFile: true,
			Usage: "name users by the certificates in the daemon's database `DB`, which also knows who is revoked"},
		&urfave.StringFlag{Name: cli.FlagPassphraseFile, TakesFile: true,
			Usage: "`FILE` with the passphrase of encrypted keys in its first line (default: ask at the terminal)"},
		&urfave.BoolFlag{Name: flagPlain, Usage: "print identifiers as hexadecimal digits alone"},
		cli.Decimal(),
		&urfave.BoolFlag{Name: flagJSON, Usage: "print JSON"},
	}
	app.Action = func(c *urfave.Context) error { return identify(c, clk) }
	cli.Describe(app, cli.Manual{
		Codes: []cli.ExitCode{{Code: cli.ExitOK, Text: "every file was identified"}, {Code: cli.ExitError, Text: "one was not, or the command line is wrong; the others are printed"}},
		Examples: []cli.Example{
			{Line: tool + " --backup 20260501030000.rows.caucased --ca-crt cau.crt.pem", Text: "find out who can decrypt a backup"},
			{Line: tool + " --private-key alice.pem --plain", Text: "print the identifier of a key"},
		},
		SeeAlso: []string{"cauase(1)", "cauased(8)", "openssl-pkey(1)"},
	})
	return app
}

// identify goes on to the next file after one that fails.
func identify(c *urfave.Context, clk clock.Clock) error {
	if err := cli.NoArguments(c); err != nil {
		return err
	}
	keys, backups := c.StringSlice(flagKey), c.StringSlice(flagBackup)
	if len(keys)+len(backups) == 0 {
		return cli.WithHint(errors.New("no file is given"), "usage: %s", c.App.UsageText)
	}
	known, err := findUsers(c, clk.Now())
	if err != nil {
		return err
	}
	var all []error
	found := report{Keys: []keyReport{}, Backups: []backupReport{}}
	passphrases := cli.Passphrases{File: c.String(cli.FlagPassphraseFile), Prompt: cli.Terminal(c.App.ErrWriter)}
	for _, path := range keys {
		id, err := keyID(path, passphrases)
		if err == nil {
			found.Keys = append(found.Keys, keyReport{path, id, known.of(id)})
		}
		all = append(all, err)
	}
	for _, path := range backups {
		header, err := readHeader(path)
		if err == nil {
			found.Backups = append(found.Backups, reportBackup(path, header, known))
		}
		all = append(all, err)
	}
	if c.Bool(flagJSON) {
		err = cli.WriteJSON(c.App.Writer, found)
	} else {
		err = found.text(c.App.Writer, style{plain: c.Bool(flagPlain), named: known != nil, decimal: c.Bool(cli.FlagDecimal)})
	}
	return errors.Join(append(all, err)...)
}

// keyID identifies the key of a file: its private key, or else that of the one certificate or
// request in it.
func keyID(path string, passphrases cli.Passphrases) (string, error) {
	content, err := pemfile.Read(path)
	if err != nil {
		return "", err
	}
	blocks, err := pki.SplitPEM(content)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	var private, public []crypto.PublicKey
	for _, block := range blocks {
		switch {
		case pki.IsPrivateKeyBlock(block):
			key, err := readKey(path, block, passphrases)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			private = append(private, key.Public())
		case block.Type == "CERTIFICATE":
			crt, err := pki.ParseIssuedDER(block.Bytes)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			public = append(public, crt.PublicKey)
		case strings.HasSuffix(block.Type, "CERTIFICATE REQUEST"):
			req, err := pki.ParseRequest(pki.EncodeCSRPEM(block.Bytes))
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			public = append(public, req.CSR.PublicKey)
		}
	}
	found := private
	if len(found) == 0 {
		found = public
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s holds %d keys where one is expected", path, len(found))
	}
	id, err := pki.KeyID(found[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return hex.EncodeToString(id), nil
}

// readKey reads a private key, with its passphrase if it has one.
func readKey(path string, block *pem.Block, passphrases cli.Passphrases) (crypto.Signer, error) {
	if !pki.IsEncryptedBlock(block) {
		return pki.ParsePrivateKeyBlock(block)
	}
	if _, err := pki.DecryptPrivateKeyBlock(block, nil); !errors.Is(err, pki.ErrPassphrase) {
		return nil, err // no passphrase opens it
	}
	passphrase, err := passphrases.Ask(path)
	if err != nil {
		return nil, err
	}
	return pki.DecryptPrivateKeyBlock(block, passphrase)
}

func readHeader(path string) (backup.Header, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|withoutWaiting, 0)
	if err != nil {
		return backup.Header{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s %w", path, pemfile.ErrNotRegular)
	}
	if err != nil {
		return backup.Header{}, err
	}
	header, err := backup.ReadHeader(bufio.NewReader(f))
	if err != nil {
		return backup.Header{}, fmt.Errorf("%s: %w", path, err)
	}
	return header, nil
}
