package manage

import (
	"context"
	"errors"
	"fmt"

	"cauase/pkg/ca"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/signoff"
	"cauase/pkg/store"
)

// RequestSignoffs returns what an authority asks its parent for whose key is kept elsewhere: so many CA
// certificates, each to follow the one before it. What was asked for before, and has not come, is asked for again.
func RequestSignoffs(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, netloc string, ahead int) (signoff.Request, error) {
	row, err := rowOf(ctx, st, name)
	if err != nil {
		return signoff.Request{}, err
	}
	switch {
	case row.Parent == "":
		return signoff.Request{}, fmt.Errorf("%s has no parent: it signs its CA certificates itself", name)
	case retired(row, clk.Now()):
		return signoff.Request{}, fmt.Errorf("%s is retired: it gets no more CA certificates", name)
	}
	if err := st.View(ctx, func(r store.Reader) error { return signsElsewhere(ctx, r, row.Parent) }); err != nil {
		return signoff.Request{}, err
	}
	if netloc, err = netlocOf(ctx, st, netloc); err != nil {
		return signoff.Request{}, err
	}
	a, err := openOne(ctx, st, clk, name, netloc)
	if err != nil {
		return signoff.Request{}, err
	}
	rows, err := a.RequestSignoffs(ctx, operator(), ahead)
	if err != nil {
		return signoff.Request{}, err
	}
	req := signoff.Request{
		Authority: string(name), Parent: string(row.Parent), Created: clk.Now(), Base: "http://" + netloc, Permitted: row.Permitted,
	}
	for _, s := range rows {
		csr, err := pki.ParseRequest(pki.EncodeCSRPEM(s.Request))
		if err != nil {
			return signoff.Request{}, fmt.Errorf("%w: sign-off %d of %s: %w", ca.ErrDamaged, s.ID, name, err)
		}
		req.Generations = append(req.Generations, signoff.Wanted{CSR: csr, NotBefore: s.NotBefore, NotAfter: s.NotAfter})
	}
	return req, nil
}

// signsElsewhere returns nil if the key of a root is kept elsewhere.
func signsElsewhere(ctx context.Context, r store.Reader, root store.AuthorityName) error {
	cas, err := r.CAs(ctx, root)
	if err != nil {
		return err
	}
	if len(cas) == 0 || cas[len(cas)-1].State != store.CAExternal {
		return fmt.Errorf("the key of %s is in this database: it signs CA certificates by itself, without a sign-off", root)
	}
	return nil
}

// netlocOf is where verifiers reach the daemon: what was given, else what the daemon has recorded.
func netlocOf(ctx context.Context, st store.Store, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	err := st.View(ctx, func(r store.Reader) (err error) {
		given, err = r.Setting(ctx, "", store.SettingNetloc)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrNetloc
	}
	return given, err
}
