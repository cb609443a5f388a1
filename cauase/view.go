package main

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"cauase/pkg/client"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

// Views are what the show commands say, as JSON and in words.

type certificateView struct {
	File        string   `json:"file,omitempty"`
	Subject     string   `json:"subject"`
	SANs        []string `json:"sans"`
	Issuer      string   `json:"issuer"`
	IssuerKeyID string   `json:"issuer_key_id"`
	manners.Serial
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Validity  string    `json:"validity"`
	Key       string    `json:"key"`
	KeyID     string    `json:"key_id"`
	CA        bool      `json:"ca"`
	contentView
	Fingerprint string `json:"fingerprint"`
	Pin         string `json:"-"`               // the fingerprint, for CAs that may be pinned
	Trust       string `json:"trust,omitempty"` // who among those trusted issued it

	P12 *p12View `json:"p12,omitempty"` // that was made of it

	Corrected []string `json:"corrected,omitempty"` // of what the request for it asks for
}

func (t *tool) viewCertificate(crt *x509.Certificate) certificateView {
	view := certificateView{
		Subject:     pki.SubjectString(crt.RawSubject),
		SANs:        append([]string{}, pki.SANStrings(crt.Extensions)...),
		Issuer:      pki.SubjectString(crt.RawIssuer),
		IssuerKeyID: fmt.Sprintf("%x", crt.AuthorityKeyId),
		Serial:      manners.SerialOf(crt.SerialNumber),
		NotBefore:   crt.NotBefore.UTC(),
		NotAfter:    crt.NotAfter.UTC(),
		Validity:    remaining(crt.NotAfter, t.clock.Now()),
		Key:         pki.DescribeKey(crt.PublicKey),
		CA:          crt.IsCA,
		contentView: viewContent(crt.Extensions, elsewhere...),
		Fingerprint: client.PinOf(crt).String(),
	}
	if now := t.clock.Now(); now.Before(crt.NotBefore) {
		view.Validity = "NOT VALID YET, for " + duration(crt.NotBefore.Sub(now))
	}
	if id, err := pki.KeyIDOf(crt); err == nil {
		view.KeyID = fmt.Sprintf("%x", id)
	}
	return view
}

// print writes a result, as JSON with --json and as text otherwise.
func (t *tool) print(view any, words func(*printer)) error {
	var out bytes.Buffer
	if t.json {
		if err := json.MarshalWrite(&out, view, jsontext.WithIndent("  ")); err != nil {
			return err
		}
		out.WriteByte('\n')
	} else {
		words(&printer{w: &out, decimal: t.decimal})
	}
	_, err := t.stdout.Write(out.Bytes())
	return err
}

// printDone prints what has become of several things, n of them, beside what has failed: nothing if all has.
func (t *tool) printDone(failed error, n int, view any, words func(*printer)) error {
	if failed != nil && n == 0 {
		return failed
	}
	return join(failed, t.print(view, words))
}

// printPEM prints what goes to standard output in the place of a file.
func (t *tool) printPEM(id client.ID, pem []byte) error {
	if t.json {
		return t.print(struct {
			ID  string `json:"id"`
			PEM string `json:"pem"`
		}{id.String(), string(pem)}, nil)
	}
	_, err := t.stdout.Write(pem)
	return err
}

// A printer writes text for people. What does not print is escaped: names come from
// anyone who can reach the daemon.
type printer struct {
	w       io.Writer
	indent  string
	decimal bool // serial numbers are wanted so
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintln(p.w, p.indent+pki.EscapeText(fmt.Sprintf(format, args...)))
}

// field prints a labelled value, and nothing for an empty one.
func (p *printer) field(label, value string) {
	if value != "" {
		p.line("%-14s %s", label+":", value)
	}
}

func (p *printer) certificate(v certificateView) {
	p.field("file", v.File)
	p.field("subject", safe(v.Subject))
	p.field("names", strings.Join(safeNames(v.SANs), ", "))
	p.field("valid from", timeText(v.NotBefore))
	p.field("valid until", timeText(v.NotAfter)+", "+v.Validity)
	p.field("key", v.Key)
	p.field("key id", v.KeyID)
	p.field("serial", v.Serial.Text(p.decimal))
	p.field("issuer", safe(v.Issuer))
	p.field("issuer key id", v.IssuerKeyID)
	p.content(v.contentView)
	p.field("fingerprint", v.Fingerprint)
	p.field("trusted", v.Trust)
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// remaining says how long something is valid.
func remaining(until, now time.Time) string {
	if left := until.Sub(now); left >= 0 {
		return duration(left) + " left"
	}
	return "EXPIRED " + duration(now.Sub(until)) + " ago"
}

// duration is rounded down to days, or to a smaller unit below two of the larger one.
func duration(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return fmt.Sprintf("%d seconds", d/time.Second)
}
