package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"cauase/pkg/ca"
	"cauase/pkg/cli"
	"cauase/pkg/clock"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

const (
	flagAhead     = "ahead"
	flagTrustRoot = "trust-root"
)

func authorityRequestCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "request",
		Usage:     "write a request to an offline root to sign an authority's next CA certificates",
		ArgsUsage: "NAME",
		Description: "Makes the keys of the next CA certificates of NAME, which stay in the database, and writes FILE, which\n" +
			"asks its parent to sign them: on the root's host, by cauased manage authority sign. The file is not secret.\n" +
			"Tell whoever signs the fingerprint that is printed, by another way than the file takes.\n" +
			"What was asked for before, and has not come back, is asked for again.\n\n" +
			"Examples:\n" +
			"  cauased manage authority request lab --out lab.request\n" +
			"  cauased manage authority request lab --out lab.request --ahead 3",
		HideHelpCommand: true,
		Flags: append(outFlags(), dbFlag(), netlocFlag(),
			cli.Int(urfave.IntFlag{Name: flagAhead, Value: 1, Usage: fmt.Sprintf("`COUNT` of CA certificates, each to follow the one before it; at most %d", ca.MaxSignoffs)})),
		Action: authorityAction(clk, stdout, stderr, requestSignoffs, authorityArgument),
	}
}

func requestSignoffs(call *authorityCall) error {
	var req signoff.Request
	var data []byte
	err := call.withAuthorities(func(st store.Store) error {
		var err error
		if req, err = manage.RequestSignoffs(call.c.Context, st, call.clk, call.name, call.netloc, call.c.Int(flagAhead)); err != nil {
			return err
		}
		data, err = req.Encode()
		return err
	})
	if err != nil {
		return err
	}
	if err := call.out.write(data); err != nil {
		return err
	}
	return call.show(viewSignoff(req, call.c.String(flagOut), data), func(p *printer) {
		p.line("%s asks %s for %s:", req.Authority, req.Parent, plural(len(req.Generations), "CA certificate"))
		printWanted(p, req)
		p.line("fingerprint of the request: %s", signoff.Fingerprint(data))
		p.line("On the host of %s: cauased manage authority sign %s --out %s.signed", req.Parent, call.c.String(flagOut), req.Authority)
	})
}

func printWanted(p *printer, req signoff.Request) {
	for _, g := range req.Generations {
		p.line("  key id %s, %s, %s", hex.EncodeToString(g.CSR.KeyID), pki.DescribeKey(g.CSR.CSR.PublicKey), pki.SubjectString(g.CSR.CSR.RawSubject))
		p.line("  valid from %s until %s", stamp(g.NotBefore), stamp(g.NotAfter))
	}
}

func authoritySignCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "sign",
		Usage:     "have an offline root sign what an authority asks for",
		ArgsUsage: "FILE",
		Description: "For the root's host, with the root's database. Shows what is asked for and by whom, asks whether to sign\n" +
			"it, and writes the answer: the CA certificates, and the root's own certificates, succession and revocation\n" +
			"lists. None of it is secret. Compare the fingerprint with the one that authority request has printed: whoever\n" +
			"can exchange the file on its way gets a CA of his own signed otherwise.\n" +
			"What was signed before for the same request is given again, and not signed twice.\n\n" +
			"Example:\n" +
			"  cauased manage authority sign --db root.sqlite lab.request --out lab.signed",
		HideHelpCommand: true,
		Flags:           append(outFlags(), dbFlag(), yesFlag()),
		Action:          authorityAction(clk, stdout, stderr, signRequest, "the FILE of a request"),
	}
}

func signRequest(call *authorityCall) error {
	data, err := readCeremony(call.args[0])
	if err != nil {
		return err
	}
	req, err := signoff.ParseRequest(data)
	if err != nil {
		return cli.WithHint(fmt.Errorf("%s: %w", call.args[0], err), "it is written by cauased manage authority request")
	}
	var answer []byte
	err = call.withAuthorities(func(st store.Store) error {
		if err := manage.CheckSignoff(call.c.Context, st, call.clk, req); err != nil {
			return err
		}
		shown := newPrinter(call.c, call.stderr)
		shown.line("%s asks %s for %s:", req.Authority, req.Parent, plural(len(req.Generations), "CA certificate"))
		printWanted(shown, req)
		permitted := "any"
		if len(req.Permitted) > 0 {
			permitted = strings.Join(req.Permitted, ", ")
		}
		shown.line("permitted names: %s", permitted)
		shown.line("the lists of %s are found at %s", req.Parent, req.Base)
		shown.line("written at %s", stamp(req.Created))
		shown.line("fingerprint of the request: %s", signoff.Fingerprint(data))
		if shown.err != nil {
			return shown.err
		}
		if err := call.confirm(fmt.Sprintf("Is this the fingerprint that was told to you, and shall %s sign?", req.Parent)); err != nil {
			return err
		}
		signed, err := manage.SignOff(call.c.Context, st, call.clk, req)
		if err != nil {
			return err
		}
		answer, err = signed.Encode()
		return err
	})
	if err != nil {
		return err
	}
	if err := call.out.write(answer); err != nil {
		return err
	}
	return call.show(viewSignoff(req, call.c.String(flagOut), answer), func(p *printer) {
		p.line("%s has signed %s of %s", req.Parent, plural(len(req.Generations), "CA certificate"), req.Authority)
		p.line("fingerprint of the answer: %s", signoff.Fingerprint(answer))
		p.line("On the host of %s: cauased manage authority install %s", req.Authority, call.c.String(flagOut))
	})
}

// readCeremony reads a file of a ceremony, of bounded size.
func readCeremony(path string) ([]byte, error) {
	data, err := readInput(path)
	if err == nil && len(data) > signoff.MaxSize {
		err = fmt.Errorf("%s: larger than %d MiB", path, signoff.MaxSize>>20)
	}
	return data, err
}

func authorityInstallCommand(clk clock.Clock, stdout, stderr io.Writer) *urfave.Command {
	return &urfave.Command{
		Name:      "install",
		Usage:     "put in place what an offline root has signed, or its revocation lists",
		ArgsUsage: "FILE",
		Description: "FILE is what cauased manage authority sign has written, or a PEM file of revocation lists of a root whose key\n" +
			"is elsewhere. Everything in it is verified, from what is known of the root here; either all of it is put in\n" +
			"place or nothing, and doing it again is fine. CA certificates are used when their time comes.\n" +
			"A new CA certificate of the root has to be vouched for by one that is known; failing that, look at its\n" +
			"fingerprint on the root's host (authority show), and give it with --" + flagTrustRoot + ".\n" +
			"Where a list of the root names a CA certificate of ours, that is put out of use at once.\n\n" +
			"Examples:\n" +
			"  cauased manage authority install lab.signed\n" +
			"  cauased manage authority install root.crl.pem",
		HideHelpCommand: true,
		Flags: []urfave.Flag{
			dbFlag(), netlocFlag(),
			&urfave.StringSliceFlag{Name: flagTrustRoot, Usage: "`FINGERPRINT`, sha256:…, of a CA certificate of the root to trust, repeatable"},
		},
		Action: authorityAction(clk, stdout, stderr, install, "a FILE"),
	}
}

func install(call *authorityCall) error {
	pins, err := fingerprints(flagTrustRoot, call.c.StringSlice(flagTrustRoot))
	if err != nil {
		return cli.WithHint(err, "%s", authorityHint(call.c))
	}
	path := call.args[0]
	data, err := readInput(path)
	if err != nil {
		return err
	}
	if strings.HasPrefix(strings.TrimSpace(string(data)), "-----BEGIN X509 CRL-----") {
		return installLists(call, path, data)
	}
	answer, err := signoff.ParseAnswer(data)
	if err != nil {
		return cli.WithHint(fmt.Errorf("%s: %w", path, err), "it is written by cauased manage authority sign, on the host of the root")
	}
	return call.withAuthorities(func(st store.Store) error {
		done, err := manage.Install(call.c.Context, st, call.clk, manage.Installation{Answer: answer, Netloc: call.netloc, TrustRoots: pins})
		switch {
		case errors.Is(err, manage.ErrUntrustedRoot):
			return cli.WithHint(fmt.Errorf("%s: %w", path, err), "compare it with what authority show says on the root's host, then give --%s", flagTrustRoot)
		case errors.Is(err, ca.ErrNotFound):
			return cli.WithHint(fmt.Errorf("%s: %w", path, err), "was it asked for by another database, or by this one before a backup was restored?")
		case err != nil:
			return fmt.Errorf("%s: %w", path, err)
		}
		return printInstalled(call, st, done)
	})
}

// fingerprints validates fingerprints of certificates and normalises them.
func fingerprints(flag string, texts []string) ([]string, error) {
	var all []string
	for _, text := range texts {
		digits, ok := strings.CutPrefix(text, "sha256:")
		raw, err := hex.DecodeString(strings.ReplaceAll(digits, ":", ""))
		if !ok || err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("--%s: %.80q is not a fingerprint: sha256: and 64 hexadecimal digits are needed", flag, text)
		}
		all = append(all, "sha256:"+hex.EncodeToString(raw))
	}
	return all, nil
}

func printInstalled(call *authorityCall, st store.Store, done manage.Installed) error {
	warnRevoked(call.stderr, done.Parent, done.Revoked)
	if done.Waits != nil {
		call.remark("warning", "not used yet: %v", done.Waits)
	}
	if call.c.Bool("json") {
		return cli.WriteJSON(call.stdout, []installedJSON{viewInstalled(done)})
	}
	p := newPrinter(call.c, call.stdout)
	for _, crt := range done.Roots {
		p.line("%s: a new CA certificate, valid until %s", done.Parent, stamp(crt.NotAfter))
	}
	if done.Lists > 0 {
		p.line("%s: %s", done.Parent, plural(done.Lists, "new revocation list"))
	}
	for _, crt := range done.Certificates {
		p.line("%s: installed a CA certificate, valid from %s until %s", done.Authority, stamp(crt.NotBefore), stamp(crt.NotAfter))
	}
	if done.Known > 0 {
		p.line("%s: %s had been installed before", done.Authority, plural(done.Known, "CA certificate"))
	}
	v, err := call.view(st, done.Authority)
	if err != nil {
		return err
	}
	if newest := v.Newest(); newest != nil {
		p.line("%s: the newest CA certificate in use is", v.Name)
		printCA(p, *newest)
	}
	if v.NextCA != nil {
		p.line("%s: the next one is due at %s (%s)", v.Name, stamp(*v.NextCA), due(call.clk.Now(), *v.NextCA))
	}
	return p.err
}

// warnRevoked warns, prominently, that CA certificates of ours are revoked.
func warnRevoked(stderr io.Writer, root store.AuthorityName, revoked []manage.RevokedCA) {
	for _, r := range revoked {
		text := fmt.Sprintf("%s HAS REVOKED the CA certificate %s of %s", root, r.KeyID, r.Authority)
		if r.Reason != 0 {
			text += " (" + pki.ReasonName(r.Reason) + ")"
		}
		if r.Err != nil {
			text += fmt.Sprintf(", and it could not be put out of use: %v", r.Err)
		} else {
			text += ": it is used no longer, and what it has signed verifies no longer"
		}
		remark(stderr, "warning", "%s", text)
	}
}

func installLists(call *authorityCall, path string, data []byte) error {
	parsed, err := pki.ParseCRLFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var ders [][]byte
	for _, list := range parsed {
		ders = append(ders, list.Raw)
	}
	return call.withAuthorities(func(st store.Store) error {
		all, err := manage.InstallLists(call.c.Context, st, call.clk, ders, call.netloc)
		if errors.Is(err, manage.ErrForeignList) {
			return cli.WithHint(fmt.Errorf("%s: %w", path, err), "cauased manage authority list lists the roots")
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		views := []installedJSON{}
		for _, done := range all {
			warnRevoked(call.stderr, done.Parent, done.Revoked)
			views = append(views, viewInstalled(done))
		}
		return call.show(views, func(p *printer) {
			for _, done := range all {
				if done.Lists == 0 {
					p.line("%s: no revocation list is newer than what is here", done.Parent)
				} else {
					p.line("%s: %s", done.Parent, plural(done.Lists, "new revocation list"))
				}
			}
		})
	})
}
