package main

import (
	"crypto/x509"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"cauase/pkg/client"
	"cauase/pkg/pemfile"
	"cauase/pkg/pki"

	manners "cauase/pkg/cli"
)

func (t *tool) crlUpdate() *cli.Command {
	return &cli.Command{
		Name:  "update",
		Usage: "fetch the revocation lists of the CAs trusted here",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "crl update takes no arguments: --crl or --user-crl is where they are")
			}
			service, err := t.witnessed(c.Context)
			if err != nil {
				return err
			}
			local, err := t.readCRLs()
			if err != nil {
				return err
			}
			crls, err := service.UpdateCRLs(c.Context, t.trusted, local)
			if err != nil {
				return err
			}
			if err := t.makeFor(t.crlStore.Path); err != nil {
				return err
			}
			if err := t.keepForgotten(local, crls); err != nil {
				return err
			}
			changed, err := t.crlStore.WriteCRLs(crls)
			if changed {
				t.changed = append(t.changed, "crl")
			}
			if err != nil {
				return err
			}
			t.warnUnlisted(crls)
			return t.updated(t.crlStore.Path, "crl", len(crls), "revocation list")
		}),
	}
}

// keepForgotten keeps the lists of before a restore of the daemon, which name what the daemon has forgotten, before new ones replace them. An agent
// proves to be a host and tells the daemon itself; this command need not have anything to prove that with.
func (t *tool) keepForgotten(local, crls []*x509.RevocationList) error {
	if !client.Jumped(local, crls) {
		return nil
	}
	kept := pemfile.CRLStore(filepath.Clean(t.crlStore.Path) + ".before-restore.pem")
	kept.Attributes = t.crlStore.Attributes
	if _, err := kept.WriteCRLs(local); err != nil {
		return err
	}
	t.warn("the daemon was restored from a backup, and may have forgotten what was revoked since: unless agents have told it, have its operator run cauased manage import-crl %s, "+
		"which is the list of before", kept.Path)
	return nil
}

// readCRLs reads the revocation lists stored here, and tells of those that must not be there: a server that reads the
// same place may take a partial list for a complete one.
func (t *tool) readCRLs() ([]*x509.RevocationList, error) {
	crls, partial, err := t.crlStore.LookAtCRLs()
	for _, p := range partial {
		if p.Foreign {
			t.warn("%s is not used, and should be removed: %v", p.Path, p.Err)
		} else {
			t.warn("%s holds a list that is not used, and that %s crl update removes: %v", p.Path, toolName, p.Err)
		}
	}
	return crls, err
}

// warnUnlisted tells of trusted CAs without a current list. A daemon has one for each;
// an attacker in the network can withhold one, so that what that CA has revoked stays valid.
func (t *tool) warnUnlisted(crls []*x509.RevocationList) {
	for _, ca := range t.trusted {
		if !slices.ContainsFunc(crls, func(crl *x509.RevocationList) bool {
			return crl.CheckSignatureFrom(ca) == nil && crl.NextUpdate.After(t.clock.Now())
		}) {
			t.warn("the daemon has served no revocation list of the CA with key id %x, and none that is current is stored here", ca.SubjectKeyId)
		}
	}
}

type crlView struct {
	File       string        `json:"file"`
	Issuer     string        `json:"issuer"`
	CAKeyID    string        `json:"ca_key_id"`
	Number     string        `json:"number,omitempty"`
	ThisUpdate time.Time     `json:"this_update"`
	NextUpdate time.Time     `json:"next_update"`
	Freshness  string        `json:"freshness"`
	Verified   bool          `json:"verified"`
	Revoked    []revokedView `json:"revoked"`
}

type revokedView struct {
	manners.Serial
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// shownRevocations bounds what people get to read; JSON has all.
const shownRevocations = 20

func (t *tool) crlShow() *cli.Command {
	return &cli.Command{
		Name:  "show",
		Usage: "describe the revocation lists stored here",
		Action: t.action(func(c *cli.Context) error {
			if c.NArg() > 0 {
				return errUsage(c, "crl show takes no arguments: --crl or --user-crl is where they are")
			}
			views, err := t.viewCRLs()
			if err != nil {
				return err
			}
			if len(views) == 0 {
				return fmt.Errorf("%s holds no revocation list yet: %s crl update fetches them", t.crlStore.Path, toolName)
			}
			return t.print(views, func(p *printer) {
				for i, view := range views {
					if i > 0 {
						p.line("")
					}
					p.crl(view)
				}
			})
		}),
	}
}

func (t *tool) viewCRLs() ([]crlView, error) {
	crls, err := t.readCRLs()
	if err != nil {
		return nil, err
	}
	trusted, err := t.caStore.ReadCertificates()
	if err != nil {
		t.warn("%v", err)
	}
	var views []crlView
	for _, crl := range crls {
		view := crlView{
			File:       t.crlStore.Path,
			Issuer:     pki.SubjectString(crl.RawIssuer),
			CAKeyID:    fmt.Sprintf("%x", crl.AuthorityKeyId),
			ThisUpdate: crl.ThisUpdate.UTC(),
			NextUpdate: crl.NextUpdate.UTC(),
			Freshness:  remaining(crl.NextUpdate, t.clock.Now()),
			Revoked:    []revokedView{},
		}
		if crl.Number != nil {
			view.Number = crl.Number.String()
		}
		for _, ca := range trusted {
			view.Verified = view.Verified || crl.CheckSignatureFrom(ca) == nil
		}
		for _, entry := range crl.RevokedCertificateEntries {
			revoked := revokedView{Serial: manners.SerialOf(entry.SerialNumber), At: entry.RevocationTime.UTC()}
			if entry.ReasonCode != 0 {
				revoked.Reason = pki.ReasonName(entry.ReasonCode)
			}
			view.Revoked = append(view.Revoked, revoked)
		}
		views = append(views, view)
	}
	return views, nil
}

func (p *printer) crl(v crlView) {
	p.field("issuer", v.Issuer)
	p.field("CA key id", v.CAKeyID)
	p.field("number", v.Number)
	p.field("this update", timeText(v.ThisUpdate))
	p.field("next update", timeText(v.NextUpdate)+", "+v.Freshness)
	if v.Verified {
		p.field("signature", "of a CA in the CA store")
	} else {
		p.field("signature", "NOT of any CA in the CA store")
	}
	p.field("revoked", fmt.Sprint(len(v.Revoked)))
	for i, r := range v.Revoked {
		if i == shownRevocations {
			p.line("  … and %d more, see --json", len(v.Revoked)-i)
			break
		}
		line := fmt.Sprintf("  %s on %s", r.Serial.Text(p.decimal), timeText(r.At))
		if r.Reason != "" {
			line += ", " + r.Reason
		}
		p.line("%s", line)
	}
}

// serialText shows a serial number in the notation that is wanted. revoke --serial takes both.
func (t *tool) serialText(serial *big.Int) string { return manners.SerialOf(serial).Text(t.decimal) }
