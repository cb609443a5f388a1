package main

import (
	"bufio"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/backup"
	"cauase/pkg/cli"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
)

const tool = "cauase-key-id"

const (
	flagKey    = "private-key"
	flagBackup = "backup"
	flagPlain  = "plain"
)

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	return cli.Report(stderr, tool, cli.Run(ctx, app, cli.Arrange(args, app.Flags)))
}

func newApp(stdout, stderr io.Writer) *urfave.App {
	app := cli.NewApp(tool, "identify keys, and those that can decrypt a backup", stdout, stderr)
	app.UsageText = tool + " [--private-key FILE…] [--backup FILE…]"
	app.Description = `A backup is decrypted with the key of one of the users it was made for. This tells whose.
Identifiers are the SHA-1 of the public key (RFC 5280 4.2.1.2), which certificates carry as
their subject key identifier. They are printed as caucase-key-id does, b'…'; --plain leaves
that out.`
	app.Flags = []urfave.Flag{
		&urfave.StringSliceFlag{Name: flagKey, TakesFile: true,
			Usage: "identify the key in `FILE`: a private key, also with its certificate, or else one certificate or signing request (several may follow)"},
		&urfave.StringSliceFlag{Name: flagBackup, TakesFile: true,
			Usage: "list the keys that can decrypt the backup in `FILE` (several may follow)"},
		&urfave.BoolFlag{Name: flagPlain, Usage: "print identifiers as hexadecimal digits alone"},
	}
	app.Action = identify
	return app
}

// identify goes on to the next file after one that fails.
func identify(c *urfave.Context) error {
	if err := cli.NoArguments(c); err != nil {
		return err
	}
	keys, backups := c.StringSlice(flagKey), c.StringSlice(flagBackup)
	if len(keys)+len(backups) == 0 {
		return cli.WithHint(errors.New("no file is given"), "usage: %s", c.App.UsageText)
	}
	quote := func(id string) string { return "b'" + id + "'" }
	if c.Bool(flagPlain) {
		quote = func(id string) string { return id }
	}
	var all []error
	for _, path := range keys {
		id, err := keyID(path)
		if err == nil {
			_, err = fmt.Fprintf(c.App.Writer, "%s %s\n", pki.EscapeText(path), quote(id))
		}
		all = append(all, err)
	}
	for _, path := range backups {
		header, err := readHeader(path)
		if err == nil {
			var out strings.Builder
			fmt.Fprintln(&out, pki.EscapeText(path))
			for _, recipient := range header.Recipients {
				fmt.Fprintln(&out, " ", quote(recipient.KeyID))
			}
			_, err = io.WriteString(c.App.Writer, out.String())
		}
		all = append(all, err)
	}
	return errors.Join(all...)
}

// keyID identifies the key of a file: its private key, or else that of the one certificate or
// request in it.
func keyID(path string) (string, error) {
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
			key, err := pki.ParsePrivateKeyBlock(block)
			if err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
			private = append(private, key.Public())
		case block.Type == "CERTIFICATE":
			crt, err := pki.ParseCertificateDER(block.Bytes)
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

func readHeader(path string) (backup.Header, error) {
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
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
