package manage

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

// An Installation is an offline root's answer that is to be installed.
type Installation struct {
	Answer signoff.Answer

	Netloc     string   // see NewAuthority
	TrustRoots []string // fingerprints of CA certificates of the root to be trusted without a succession
}

// Installed is the result of an Installation.
type Installed struct {
	Authority, Parent store.AuthorityName

	Roots        []*x509.Certificate // of the parent, that are new here
	Lists        int                 // that are newer than those there were
	Certificates []*x509.Certificate // CA certificates that were installed
	Known        int                 // CA certificates that were installed before

	Revoked []RevokedCA // of our authorities, by the parent's lists
	Waits   error       // why no CA certificate could be made of what was installed; nil otherwise
}

// A RevokedCA is a CA certificate that its issuer, a root elsewhere, has revoked.
type RevokedCA struct {
	Authority store.AuthorityName
	KeyID     string // hex
	Reason    int

	Err error // why it could not be put out of use; nil: it was

	keyID []byte
}

// Install installs the answer of an offline root, all of it or nothing; what is installed already is skipped. It trusts
// nothing but signatures, starting from what is known of the root here.
func Install(ctx context.Context, st store.Store, clk clock.Clock, in Installation) (Installed, error) {
	var done Installed
	err := st.Update(ctx, func(tx store.Tx) (err error) {
		done, err = in.install(ctx, tx, clk)
		return err
	})
	if err != nil {
		return Installed{}, err
	}
	if done.Revoked, err = revokeListed(ctx, st, clk, done.Parent, in.Netloc); err != nil {
		return done, err
	}
	// Opening the authority puts those into use whose time has come.
	_, done.Waits = openOne(ctx, st, clk, done.Authority, in.Netloc)
	return done, nil
}

func (in Installation) install(ctx context.Context, tx store.Tx, clk clock.Clock) (Installed, error) {
	done := Installed{Authority: store.AuthorityName(in.Answer.Authority), Parent: store.AuthorityName(in.Answer.Parent)}
	row, err := rowIn(ctx, tx, done.Authority)
	if err != nil {
		return done, err
	}
	switch {
	case row.Parent == "":
		return done, fmt.Errorf("%s has no parent: it signs its CA certificates itself", row.Name)
	case row.Parent != done.Parent:
		return done, fmt.Errorf("%s is below %s, and the file is an answer of %s", row.Name, row.Parent, done.Parent)
	}
	if err := signsElsewhere(ctx, tx, row.Parent); err != nil {
		return done, err
	}
	roots, err := in.installRoots(ctx, tx, clk, &done)
	if err != nil {
		return done, err
	}
	for i, der := range in.Answer.Lists {
		if in.ofUnknown(roots, der) {
			continue
		}
		switch _, newer, err := storeExternalList(ctx, tx, done.Parent, roots, der); {
		case err != nil:
			return done, fmt.Errorf("revocation list %d: %w", i+1, err)
		case newer:
			done.Lists++
		}
	}
	inside := store.Within(tx)
	a, err := openOne(ctx, inside, clk, done.Authority, in.Netloc)
	if err != nil {
		return done, err
	}
	listed, err := listedBy(ctx, inside, clk, done.Parent)
	if err != nil {
		return done, err
	}
	for i, crt := range in.Answer.Certificates {
		if _, revoked := listed.reason(crt); revoked {
			return done, fmt.Errorf("CA certificate %d: %s has revoked it", i+1, done.Parent)
		}
		known, err := installed(ctx, tx, done.Authority, crt)
		if err != nil {
			return done, err
		}
		if known {
			done.Known++
			continue
		}
		if err := a.InstallSignoff(ctx, operator(), crt); err != nil {
			return done, fmt.Errorf("CA certificate %d: %w", i+1, err)
		}
		done.Certificates = append(done.Certificates, crt)
	}
	return done, nil
}

// installRoots stores the CA certificates of the root that are new and trusted, and returns all that are
// known then.
func (in Installation) installRoots(ctx context.Context, tx store.Tx, clk clock.Clock, done *Installed) ([]*x509.Certificate, error) {
	known, err := certificatesOf(ctx, tx, done.Parent)
	if err != nil {
		return nil, err
	}
	now := clk.Now()
	walk := trustWalk{now: now, known: known, pinned: in.TrustRoots}
	fresh, err := walk.walk(in.Answer)
	if err != nil {
		return nil, err
	}
	for _, f := range fresh {
		if err := addExternal(ctx, tx, now, done.Parent, f.crt, f.link); err != nil {
			return nil, err
		}
		known = append(known, f.crt)
		done.Roots = append(done.Roots, f.crt)
	}
	return known, nil
}

// ofUnknown reports whether a list is of a CA of the root that the answer has and that is not trusted here: an
// older one, which has issued nothing of ours.
func (in Installation) ofUnknown(known []*x509.Certificate, der []byte) bool {
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		return false
	}
	is := func(crt *x509.Certificate) bool { return bytes.Equal(crt.SubjectKeyId, list.AuthorityKeyId) }
	return slices.ContainsFunc(in.Answer.Parents, is) && !slices.ContainsFunc(known, is)
}

func certificatesOf(ctx context.Context, r store.Reader, name store.AuthorityName) ([]*x509.Certificate, error) {
	rows, err := r.CAs(ctx, name)
	if err != nil {
		return nil, err
	}
	var crts []*x509.Certificate
	for _, row := range rows {
		crt, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			return nil, fmt.Errorf("%w: CA certificate %d of %s: %w", ca.ErrDamaged, row.ID, name, err)
		}
		crts = append(crts, crt)
	}
	return crts, nil
}

// installed reports whether exactly this CA certificate is there, in stock or in use.
func installed(ctx context.Context, r store.Reader, name store.AuthorityName, crt *x509.Certificate) (bool, error) {
	stock, err := r.Signoffs(ctx, name)
	if err != nil {
		return false, err
	}
	cas, err := r.CAs(ctx, name)
	return slices.ContainsFunc(stock, func(s store.Signoff) bool { return bytes.Equal(s.Certificate, crt.Raw) }) ||
		slices.ContainsFunc(cas, func(c store.CA) bool { return bytes.Equal(c.Certificate, crt.Raw) }), err
}

// ErrForeignList means that a revocation list is of no root that is known here.
var ErrForeignList = errors.New("the revocation list is of no root here whose key is elsewhere")

// InstallLists installs revocation lists of roots whose keys are kept elsewhere, all of them or none, and takes our CA
// certificates that they list out of use.
func InstallLists(ctx context.Context, st store.Store, clk clock.Clock, lists [][]byte, netloc string) ([]Installed, error) {
	var all []Installed
	err := st.Update(ctx, func(tx store.Tx) error {
		all = nil
		rows, err := tx.Authorities(ctx)
		if err != nil {
			return err
		}
		left := slices.Clone(lists)
		for _, row := range store.ByRole(rows, store.RoleRoot) {
			if signsElsewhere(ctx, tx, row.Name) != nil {
				continue
			}
			crts, err := certificatesOf(ctx, tx, row.Name)
			if err != nil {
				return err
			}
			done := Installed{Parent: row.Name}
			var others [][]byte
			for _, der := range left {
				list, err := x509.ParseRevocationList(der)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(crts, func(crt *x509.Certificate) bool { return bytes.Equal(crt.SubjectKeyId, list.AuthorityKeyId) }) {
					others = append(others, der)
					continue
				}
				_, newer, err := storeExternalList(ctx, tx, row.Name, crts, der)
				if err != nil {
					return err
				}
				if newer {
					done.Lists++
				}
			}
			if len(others) < len(left) {
				all = append(all, done)
			}
			left = others
		}
		if len(left) > 0 {
			return ErrForeignList
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Revoked, err = revokeListed(ctx, st, clk, all[i].Parent, netloc); err != nil {
			return all, err
		}
	}
	return all, nil
}

// rootEntries are the entries of the revocation lists of a root: reasons by key identifier of the CA and serial.
type rootEntries map[string]int

func listedKey(keyID []byte, serial string) string { return hex.EncodeToString(keyID) + " " + serial }

func (l rootEntries) reason(crt *x509.Certificate) (reason int, revoked bool) {
	reason, revoked = l[listedKey(crt.AuthorityKeyId, crt.SerialNumber.String())]
	return reason, revoked
}

// listedBy reads the installed lists of a root whose key is kept elsewhere.
func listedBy(ctx context.Context, st store.Store, clk clock.Clock, root store.AuthorityName) (rootEntries, error) {
	a, err := openOne(ctx, st, clk, root, "")
	if err != nil {
		return nil, err
	}
	lists, err := a.CRLs(ctx)
	if err != nil {
		return nil, err
	}
	found := rootEntries{}
	for _, l := range lists {
		list, err := x509.ParseRevocationList(l.DER())
		if err != nil {
			return nil, err
		}
		for _, entry := range list.RevokedCertificateEntries {
			found[listedKey(l.KeyID, entry.SerialNumber.String())] = entry.ReasonCode
		}
	}
	return found, nil
}
