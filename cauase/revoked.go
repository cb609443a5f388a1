package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"strings"
	"time"

	manners "cauase/pkg/cli"
	"cauase/pkg/client"
	"cauase/pkg/pki"
)

// A hitView says whom a revocation hits.
type hitView struct {
	Subject string   `json:"subject"`
	SANs    []string `json:"sans"`
	manners.Serial
	NotAfter time.Time `json:"not_after"`
	Lineage  string    `json:"lineage,omitempty"`
	Renewals int64     `json:"renewals,omitzero"` // that the lineage has had
}

// text says it in words.
func (v *hitView) text(decimal bool) string {
	text := v.Subject
	if len(v.SANs) > 0 {
		text = strings.TrimSpace(text + " [" + strings.Join(v.SANs, ", ") + "]")
	}
	if text == "" {
		text = "a certificate without a name"
	}
	text += fmt.Sprintf(", serial %s, valid until %s", v.Serial.Text(decimal), v.NotAfter.UTC().Format(time.DateTime)+" UTC")
	if v.Lineage != "" {
		text += ", lineage " + v.Lineage
	}
	if v.Renewals > 0 {
		text += fmt.Sprintf(" (%d renewals)", v.Renewals)
	}
	return text
}

// revokedFile describes a certificate that was in a file.
func revokedFile(crt *x509.Certificate) *hitView {
	return &hitView{
		Subject: pki.SubjectString(crt.RawSubject), SANs: append([]string{}, pki.SANStrings(crt.Extensions)...),
		Serial: manners.SerialOf(crt.SerialNumber), NotAfter: crt.NotAfter.UTC(),
	}
}

// inLineage adds which lineage a certificate that was in a file belongs to, as far as the daemon tells, since that is what a user
// revokes.
func (t *tool) inLineage(ctx context.Context, session *client.Session, v *hitView, serial *big.Int) *hitView {
	if !session.Verified() {
		return v
	}
	if l, err := session.LineageOf(ctx, serial); err == nil {
		v.Lineage, v.Renewals = l.ID, l.Renewals
	}
	return v
}

// naming says which of several things an error is about, unless it does so itself.
func naming(what string, err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && path.Path == what || strings.HasPrefix(err.Error(), what) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

// onRecord tells whom the revocation of a serial is going to hit, and refuses a serial that is nobody's unless that is
// insisted on: a wrong one would go unnoticed, and the right certificate stay good. A daemon whose answers are not
// authenticated is a reference daemon, which does not tell.
func (t *tool) onRecord(ctx context.Context, session *client.Session, serial *big.Int, unknown bool) (*hitView, error) {
	if !session.Verified() {
		return nil, nil
	}
	crt, l, err := session.OnRecord(ctx, serial)
	switch {
	case client.IsStatus(err, http.StatusNotFound) && unknown:
		t.note("serial %s: the daemon has no record of such a certificate", t.serialText(serial))
		return nil, nil
	case client.IsStatus(err, http.StatusNotFound):
		return nil, manners.WithHint(fmt.Errorf("the daemon has no record of a certificate with this serial number (%w)", err),
			"check the number, and the authority (--mode, --authority); --unknown revokes it all the same")
	case err != nil:
		return nil, err
	}
	v := &hitView{
		Subject: l.Subject, SANs: []string{}, Serial: manners.SerialOf(serial), NotAfter: l.NotAfter.UTC(), Lineage: l.ID, Renewals: l.Renewals,
	}
	if crt.Serial != "" {
		v.Subject, v.SANs, v.NotAfter = crt.Subject, append(v.SANs, crt.SANs...), crt.NotAfter.UTC()
	}
	return v, nil
}
