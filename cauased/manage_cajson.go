package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"cauase/pkg/cli"
	"cauase/pkg/manage"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
)

// caJSON is a CA certificate as scripts read it.
type caJSON struct {
	Fingerprint string `json:"fingerprint"`
	KeyID       string `json:"key_id"`
	Key         string `json:"key"`
	Subject     string `json:"subject"`
	cli.Serial
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

func viewCA(crt *x509.Certificate) caJSON {
	sum := sha256.Sum256(crt.Raw)
	v := caJSON{
		Fingerprint: "sha256:" + hex.EncodeToString(sum[:]), Key: pki.DescribeKey(crt.PublicKey), Subject: pki.SubjectString(crt.RawSubject),
		Serial: cli.SerialOf(crt.SerialNumber), NotBefore: crt.NotBefore.UTC(), NotAfter: crt.NotAfter.UTC(),
	}
	if id, err := pki.KeyID(crt.PublicKey); err == nil {
		v.KeyID = hex.EncodeToString(id)
	}
	return v
}

func viewCAs(crts []*x509.Certificate) []caJSON {
	views := []caJSON{}
	for _, crt := range crts {
		views = append(views, viewCA(crt))
	}
	return views
}

// movedCAsJSON is what was imported or exported of an authority's CA certificates.
type movedCAsJSON struct {
	Authority    string   `json:"authority"`
	File         string   `json:"file,omitempty"`
	Certificates []caJSON `json:"ca_certificates"`
	Lists        int      `json:"crls,omitempty"`
	ListFile     string   `json:"crl_file,omitempty"`
	Notes        []string `json:"notes"`
}

// revokedCAJSON is a CA certificate of ours that somebody has revoked.
type revokedCAJSON struct {
	Authority string `json:"authority"`
	KeyID     string `json:"key_id"`
	Reason    string `json:"reason"`
	Problem   string `json:"problem,omitempty"` // why it could not be put out of use
}

func viewRevokedCAs(revoked []manage.RevokedCA) []revokedCAJSON {
	views := []revokedCAJSON{}
	for _, r := range revoked {
		v := revokedCAJSON{Authority: string(r.Authority), KeyID: r.KeyID, Reason: pki.ReasonName(r.Reason)}
		if r.Err != nil {
			v.Problem = r.Err.Error()
		}
		views = append(views, v)
	}
	return views
}

// importedListsJSON is what was imported of revocation lists.
type importedListsJSON struct {
	Authority string          `json:"authority"`
	Lists     int             `json:"crls"`
	Added     int             `json:"added"`
	Known     int             `json:"known"`
	Number    int64           `json:"next_crl_number"`
	LeftOut   []string        `json:"left_out"`
	Revoked   []revokedCAJSON `json:"revoked_cas"`
}

// signoffJSON is a request to an offline parent, or its answer.
type signoffJSON struct {
	Authority   string       `json:"authority"`
	Parent      string       `json:"parent"`
	File        string       `json:"file"`
	Fingerprint string       `json:"fingerprint"` // of the file
	Wanted      []wantedJSON `json:"cas"`
}

// wantedJSON is a CA certificate that is asked for.
type wantedJSON struct {
	KeyID     string    `json:"key_id"`
	Key       string    `json:"key"`
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

func viewSignoff(req signoff.Request, file string, content []byte) signoffJSON {
	v := signoffJSON{Authority: req.Authority, Parent: req.Parent, File: file, Fingerprint: signoff.Fingerprint(content), Wanted: []wantedJSON{}}
	for _, g := range req.Generations {
		v.Wanted = append(v.Wanted, wantedJSON{
			KeyID: hex.EncodeToString(g.CSR.KeyID), Key: pki.DescribeKey(g.CSR.CSR.PublicKey), Subject: pki.SubjectString(g.CSR.CSR.RawSubject),
			NotBefore: g.NotBefore.UTC(), NotAfter: g.NotAfter.UTC(),
		})
	}
	return v
}

// installedJSON is what was put in place of what a parent has signed.
type installedJSON struct {
	Parent       string          `json:"parent"`
	Authority    string          `json:"authority,omitempty"` // whose CA certificates were installed
	Roots        []caJSON        `json:"parent_certificates"`
	Certificates []caJSON        `json:"ca_certificates"`
	Lists        int             `json:"crls"`
	Known        int             `json:"known"`
	Revoked      []revokedCAJSON `json:"revoked_cas"`
	Waits        string          `json:"waits,omitempty"` // why it is not used yet
}

func viewInstalled(done manage.Installed) installedJSON {
	v := installedJSON{
		Parent: string(done.Parent), Authority: string(done.Authority), Roots: viewCAs(done.Roots), Certificates: viewCAs(done.Certificates),
		Lists: done.Lists, Known: done.Known, Revoked: viewRevokedCAs(done.Revoked),
	}
	if done.Waits != nil {
		v.Waits = done.Waits.Error()
	}
	return v
}

// revocationJSON is the revocation of a CA certificate.
type revocationJSON struct {
	Authority string `json:"authority"` // whose command it was
	KeyID     string `json:"key_id,omitempty"`
	cli.Serial
	Reason    string          `json:"reason"`
	Elsewhere bool            `json:"elsewhere,omitempty"` // it has to be revoked on the parent's host, too
	Parent    string          `json:"parent,omitempty"`
	File      string          `json:"file,omitempty"`        // of the lists that say so
	Revoked   []revokedCAJSON `json:"revoked_cas,omitempty"` // of authorities here
}
