package main

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

const (
	flagKeyID  = "key-id"
	flagReason = "reason"
	flagSerial = "serial"
	flagCrt    = "crt"
)

func reasonFlag() urfave.Flag {
	return &urfave.StringFlag{Name: flagReason, Value: pki.ReasonName(0), Usage: "`REASON`: " + strings.Join(pki.ReasonNames(), ", ")}
}

func readReason(c *urfave.Context) (int, error) {
	name, err := cli.Choice("--"+flagReason, c.String(flagReason), pki.ReasonNames())
	if err != nil {
		return 0, err
	}
	return pki.ParseReason(name)
}

func authorityRevokeCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "revoke",
		Usage:     "revoke a CA certificate of an authority at its parent",
		ArgsUsage: "NAME",
		Description: "The parent lists the CA certificate as revoked; NAME signs nothing with it any more, erases its key and\n" +
			"gets another CA certificate at once. Whoever looks at the parent's list takes nothing for valid any more\n" +
			"that the revoked one has signed: those who hold such certificates have to ask for new ones.\n" +
			"Where the parent's key is elsewhere, revoke there, too, with authority revoke-below.\n" +
			"authority show prints key ids.\n\n" +
			"Example:\n" +
			"  cauased manage authority revoke lab --key-id 5260eeab21fb2e4ae8d097966778a4baa7e66846 --reason keyCompromise",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(), yesFlag(), reasonFlag(),
			&urfave.StringFlag{Name: flagKeyID, Usage: "`HEX`, the key id of the CA certificate (required)"},
		},
		Action: authorityAction(clk, stdout, stderr, revokeCA, authorityArgument),
	}
}

func revokeCA(call *authorityCall) error {
	keyID, err := hex.DecodeString(strings.ReplaceAll(call.c.String(flagKeyID), ":", ""))
	if err != nil || len(keyID) == 0 {
		return cli.WithHint(fmt.Errorf("--%s: %q is not a key id in hexadecimal", flagKeyID, call.c.String(flagKeyID)), "cauased manage authority show %s prints it", call.name)
	}
	reason, err := readReason(call.c)
	if err != nil {
		return err
	}
	return call.withAuthorities(func(st store.Store) error {
		v, err := call.view(st, call.name)
		if err != nil {
			return err
		}
		question := fmt.Sprintf("Everything that the CA certificate %s of %s has signed will verify no longer.", hex.EncodeToString(keyID), call.name)
		if err := call.confirm(question); err != nil {
			return err
		}
		elsewhere, err := manage.RevokeCA(call.c.Context, st, call.clk, call.name, keyID, reason, call.netloc)
		if errors.Is(err, ca.ErrNotFound) {
			return cli.WithHint(err, "cauased manage authority show %s prints those there are", call.name)
		} else if err != nil {
			return err
		}
		view := revocationJSON{Authority: string(call.name), KeyID: hex.EncodeToString(keyID), Reason: pki.ReasonName(reason), Elsewhere: elsewhere, Parent: string(v.Parent)}
		for _, g := range v.Generations {
			if g.KeyID == view.KeyID {
				view.Serial = cli.Serial{Hex: g.Serial, Decimal: g.Decimal}
			}
		}
		if call.c.Bool("json") {
			return cli.WriteJSON(call.stdout, view)
		}
		p := newPrinter(call.c, call.stdout)
		p.line("%s signs nothing any more with the CA certificate %s", call.name, hex.EncodeToString(keyID))
		if elsewhere {
			p.line("Nobody else knows yet. On the host of %s: cauased manage authority revoke-below %s --%s SERIAL --%s root.crl.pem", v.Parent, v.Parent, flagSerial, flagOut)
			p.line("  with the serial %s; then install that list here", view.Hex)
		}
		if v, err = call.view(st, call.name); err != nil {
			return err
		}
		if newest := v.Newest(); newest != nil {
			p.line("%s: the newest CA certificate is", call.name)
			printCA(p, *newest)
		}
		printSignoffNeeded(p, v)
		return p.err
	})
}

func authorityRevokeBelowCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "revoke-below",
		Usage:     "have a root revoke a CA certificate that it has signed, and write its revocation lists",
		ArgsUsage: "ROOT",
		Description: "For the host of an offline root. The lists in FILE (PEM) have to be installed on the host of the daemon that serves them:\n" +
			"cauased manage authority install FILE.\n\n" +
			"Examples:\n" +
			"  cauased manage authority revoke-below home-root --db root.sqlite --serial 0x4db4c371c9774 --out root.crl.pem\n" +
			"  cauased manage authority revoke-below home-root --db root.sqlite --crt lab.pem --reason keyCompromise --out root.crl.pem",
		HideHelpCommand: true,
		Flags: append(outFlags(), dbFlag(), yesFlag(), reasonFlag(),
			&urfave.StringFlag{Name: flagSerial, Usage: "`NUMBER` of the CA certificate: decimal, or hexadecimal behind 0x"},
			&urfave.StringFlag{Name: flagCrt, Usage: "`FILE` of the CA certificate, PEM"}),
		Action: authorityAction(clk, stdout, stderr, revokeBelow, authorityArgument),
	}
}

func revokeBelow(call *authorityCall) error {
	crt, serial, err := readRevoked(call.c)
	if err != nil {
		return cli.WithHint(err, "%s", authorityHint(call.c))
	}
	reason, err := readReason(call.c)
	if err != nil {
		return err
	}
	var export manage.Export
	var revoked []manage.RevokedCA
	err = call.withAuthorities(func(st store.Store) error {
		if _, err := call.view(st, call.name); err != nil {
			return err
		}
		if err := call.confirm(fmt.Sprintf("Everything below the CA certificate %#x will verify no longer.", serial)); err != nil {
			return err
		}
		var err error
		revoked, err = manage.RevokeBelow(call.c.Context, st, call.clk, call.name, crt, serial, reason)
		warnRevoked(call.stderr, call.name, revoked)
		switch {
		case errors.Is(err, ca.ErrNotFound):
			return cli.WithHint(err, "give the certificate, with --%s FILE", flagCrt)
		case errors.Is(err, ca.ErrConflict):
			// The list may have been lost.
			call.remark("note", "%v", err)
		case err != nil:
			return err
		}
		export, err = manage.ExportAuthority(call.c.Context, st, call.clk, call.name, "")
		return err
	})
	if err != nil {
		return err
	}
	if err := call.out.write(listsPEM(export.Lists)); err != nil {
		return err
	}
	view := revocationJSON{Authority: string(call.name), Serial: cli.SerialOf(serial), Reason: pki.ReasonName(reason), File: call.c.String(flagOut), Revoked: viewRevokedCAs(revoked)}
	return call.show(view, func(p *printer) {
		p.line("%s lists the CA certificate %#x as revoked", call.name, serial)
		p.line("On the host of the daemon: cauased manage authority install %s", call.c.String(flagOut))
	})
}

// readRevoked returns which CA certificate to revoke: its serial in any case.
func readRevoked(c *urfave.Context) (*x509.Certificate, *big.Int, error) {
	text, path := c.String(flagSerial), c.String(flagCrt)
	if (text == "") == (path == "") {
		return nil, nil, fmt.Errorf("one of --%s and --%s is needed", flagSerial, flagCrt)
	}
	if path == "" {
		serial, err := pki.ParseSerial(text)
		if err != nil {
			return nil, nil, fmt.Errorf("--%s: %w", flagSerial, err)
		}
		return nil, serial, nil
	}
	data, err := readInput(path)
	if err != nil {
		return nil, nil, fmt.Errorf("--%s: %w", flagCrt, err)
	}
	crts, err := pki.ParseCertificateFile(data)
	if err != nil {
		return nil, nil, fmt.Errorf("--%s: %s: %w", flagCrt, path, err)
	}
	if len(crts) > 1 {
		return nil, nil, fmt.Errorf("--%s: %s: %d certificates where one is expected", flagCrt, path, len(crts))
	}
	return crts[0], crts[0].SerialNumber, nil
}

func listsPEM(lists [][]byte) []byte {
	var all []byte
	for _, der := range lists {
		all = append(all, pki.EncodeCRLPEM(der)...)
	}
	return all
}

func authorityExportCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "export",
		Usage:     "write an authority's CA certificates, without their keys, and its revocation lists",
		ArgsUsage: "NAME",
		Description: "Writes the CA certificates that are valid, oldest first, as PEM. With --" + flagCRL + " the revocation lists are written to\n" +
			"another file; those of an offline root have to be installed for the daemon before the last ones expire. Nothing of\n" +
			"it is secret.\n\n" +
			"Examples:\n" +
			"  cauased manage authority export home-root --db root.sqlite --out root.pem --crl root.crl.pem",
		HideHelpCommand: true,
		Flags: append(outFlags(), dbFlag(), netlocFlag(),
			&urfave.StringFlag{Name: flagCRL, Usage: "`FILE` to write the revocation lists to"}),
		Action: authorityAction(clk, stdout, stderr, export, authorityArgument),
	}
}

func export(call *authorityCall) error {
	var lists *outFile
	if call.c.IsSet(flagCRL) {
		var err error
		if lists, err = createOut(call.c, flagCRL); err != nil {
			return err
		}
		defer lists.discard()
	}
	var export manage.Export
	err := call.withAuthorities(func(st store.Store) (err error) {
		export, err = manage.ExportAuthority(call.c.Context, st, call.clk, call.name, call.netloc)
		return err
	})
	if err != nil {
		return err
	}
	var bundle []byte
	for _, crt := range export.Certificates {
		bundle = append(bundle, pki.EncodeCertificatePEM(crt.Raw)...)
	}
	if err := call.out.write(bundle); err != nil {
		return err
	}
	view := movedCAsJSON{Authority: string(call.name), File: call.c.String(flagOut), Certificates: viewCAs(export.Certificates), Notes: []string{}}
	if lists != nil {
		if err := lists.write(listsPEM(export.Lists)); err != nil {
			return err
		}
		view.Lists, view.ListFile = len(export.Lists), call.c.String(flagCRL)
	}
	return call.show(view, func(p *printer) {
		p.line("%s: %s in %s", call.name, plural(len(export.Certificates), "CA certificate"), view.File)
		if lists != nil {
			p.line("%s: %s in %s", call.name, plural(view.Lists, "revocation list"), view.ListFile)
		}
	})
}
