package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/durable"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"
	"cauase/pkg/trustcard"

	manners "cauase/pkg/cli"
)

func (t *tool) caCard() *cli.Command {
	return &cli.Command{
		Name:  "card",
		Usage: "print the trust card: by what others know this CA, and the command with which they begin",
		Description: `For whoever is to use the CA from another machine. The fingerprint of its newest certificate that is
trusted here is printed in hexadecimal digits, as 24 words (those of BIP 39's English list, the last of which
checks the others) to be read out on the phone, and as a QR code; and the command by which a newcomer
trusts this CA and no other. Whoever has used it compares what the same command prints there.

Nobody is asked: it is about what is stored here.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", TakesFile: true, Usage: "write the QR code to `FILE`, a PNG image, too"},
			&cli.BoolFlag{Name: "force", Usage: "replace that file if it exists"},
			&cli.StringFlag{Name: "compare", Usage: "print nothing but whether `TEXT`, words or a fingerprint, are those of a CA certificate trusted here"},
		},
		Action: t.action(t.card),
	}
}

// A cardView is by what an authority's CA is known.
type cardView struct {
	Authority    string          `json:"authority"`
	CAURL        string          `json:"ca_url"`
	Certificates []cardEntryView `json:"certificates"` // that are valid, the newest first
	QR           string          `json:"qr"`           // text of the QR code
	File         string          `json:"file,omitempty"`
	Command      string          `json:"command"`
}

type cardEntryView struct {
	Subject     string    `json:"subject"`
	NotAfter    time.Time `json:"not_after"`
	Fingerprint string    `json:"fingerprint"`
	Words       []string  `json:"words"`
}

func (t *tool) card(c *cli.Context) error {
	if c.NArg() > 0 {
		return errUsage(c, "ca card takes no arguments: --mode or --authority says whose")
	}
	if t.caURL == "" {
		return manners.WithHint(errors.New("the CA's address is not given"), "give --ca-url http://HOST[:PORT], as others reach it")
	}
	if err := client.CheckURL(t.caURL); err != nil {
		return fmt.Errorf("%s: %w", t.urlFrom, err)
	}
	cas, err := t.validCAs(t.caStore)
	if err != nil {
		return err
	}
	if len(cas) == 0 {
		return manners.WithHint(fmt.Errorf("%s holds no valid CA certificate of %s", t.caStore.Path, t.authority), "%s ca update%s fetches them", toolName, t.authorityFlag())
	}
	if c.IsSet("compare") {
		return t.compareCard(c.String("compare"), cas)
	}
	view := cardView{Authority: string(t.authority), CAURL: t.caURL, QR: client.PinOf(cas[0]).String()}
	for _, ca := range cas {
		view.Certificates = append(view.Certificates, cardEntryView{
			Subject: pki.SubjectString(ca.RawSubject), NotAfter: ca.NotAfter.UTC(), Fingerprint: client.PinOf(ca).String(), Words: trustcard.Words(client.PinOf(ca)),
		})
	}
	if view.Command, err = t.pinnedCommand(cas); err != nil {
		return err
	}
	code, err := trustcard.NewCode(view.QR)
	if err != nil {
		return err
	}
	if view.File = c.String("out"); view.File != "" {
		if err := writeImage(view.File, code.PNG(), c.Bool("force")); err != nil {
			return err
		}
	}
	return t.print(view, func(p *printer) { p.card(view, code.Lines(manners.Coloured(t.stdout)), t.clock.Now()) })
}

// validCAs are the CA certificates of a store that are valid now, the newest first.
func (t *tool) validCAs(store pemfile.Store) ([]*x509.Certificate, error) {
	cas, err := store.ReadCertificates()
	if err != nil {
		return nil, err
	}
	now := t.clock.Now()
	cas = slices.DeleteFunc(cas, func(ca *x509.Certificate) bool { return !ca.IsCA || pki.CheckValidity(ca, now) != nil })
	client.ByAge(cas)
	slices.Reverse(cas)
	return cas, nil
}

// pinnedCommand is what a newcomer begins with. It has the fingerprints of the authorities of services and users, too, which every
// configuration trusts, as far as they are known here.
func (t *tool) pinnedCommand(cas []*x509.Certificate) (string, error) {
	words := []string{toolName, cmdInit, "--ca-url", shellWord(t.caURL)}
	if flag := t.authorityFlag(); flag != "" && t.authority != client.CAU {
		words = append(words, strings.TrimSpace(flag))
	}
	var pins []string
	all := [][]*x509.Certificate{cas}
	for _, store := range []pemfile.Store{t.servicesStore, t.usersStore} {
		more, err := t.validCAs(store)
		if err != nil {
			return "", err
		}
		all = append(all, more)
	}
	for _, ca := range slices.Concat(all...) {
		if pin := client.PinOf(ca).String(); !slices.Contains(pins, pin) {
			pins = append(pins, pin)
		}
	}
	for _, pin := range pins {
		words = append(words, "--ca-fingerprint", pin)
	}
	return strings.Join(words, " "), nil
}

// shellWord quotes what a shell would take for something else.
func shellWord(text string) string {
	if strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:/.-_") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// compareCard compares what somebody was told with what is trusted here.
func (t *tool) compareCard(text string, cas []*x509.Certificate) error {
	told, err := client.ParsePin(strings.TrimSpace(text))
	if err != nil {
		var failed error
		if told, failed = trustcard.ParseWords(text); failed != nil {
			return manners.WithHint(fmt.Errorf("--compare: %w", failed), "a fingerprint is sha256: and 64 hexadecimal digits; words are 24, separated by spaces")
		}
	}
	for _, ca := range cas {
		if client.PinOf(ca) == told {
			view := trustView{string(t.authority), pki.SubjectString(ca.RawSubject), told.String(), t.caStore.Path}
			return t.print(view, func(p *printer) { p.line("the same: %s, %s", safe(view.Subject), view.Fingerprint) })
		}
	}
	return manners.WithHint(fmt.Errorf("no CA certificate of %s in %s has the fingerprint %s", t.authority, t.caStore.Path, told), "somebody may be answering in the CA's place: trust neither before you know why they differ")
}

// writeImage writes an image, which is no secret.
func writeImage(path string, content []byte, force bool) error {
	if force {
		_, err := pemfile.Write(pemfile.File{Path: path, Content: content})
		return err
	}
	f, err := durable.Create(path, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return manners.WithHint(fmt.Errorf("%s exists", path), "choose another file, or replace it with --force")
	}
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := f.Set(content); err != nil {
		return err
	}
	return f.Publish()
}

// wordsPerLine divides 24.
const wordsPerLine = 6

func (p *printer) card(v cardView, code []string, now time.Time) {
	p.line("CA %s at %s", v.Authority, v.CAURL)
	for _, one := range v.Certificates {
		p.line("")
		p.field("subject", safe(one.Subject))
		p.field("valid", remaining(one.NotAfter, now))
		p.field("fingerprint", one.Fingerprint)
		for i, line := range slices.Collect(slices.Chunk(one.Words, wordsPerLine)) {
			if i == 0 {
				p.field("words", strings.Join(line, " "))
				continue
			}
			p.line("%-14s %s", "", strings.Join(line, " "))
		}
	}
	p.line("")
	for _, line := range code {
		fmt.Fprintln(p.w, line) // which may have colours in it
	}
	p.line("")
	if v.File != "" {
		p.line("%s: the QR code", v.File)
	}
	p.line("On another machine, trust this CA and no other with:")
	p.line("  %s", v.Command)
}
