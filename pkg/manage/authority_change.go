package manage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/store"
)

// SetParent has an authority get its CA certificates from a root, beginning with the next one, or sign
// them itself if parent is empty. What was prepared for another parent is dropped. It returns the previous parent.
func SetParent(ctx context.Context, st store.Store, clk clock.Clock, name, parent store.AuthorityName) (before store.AuthorityName, err error) {
	now := clk.Now()
	err = changeRow(ctx, st, now, name, audit.ChangeAuthority, func(tx store.Tx, row *store.Authority) (string, error) {
		switch {
		case row.Role == store.RoleRoot:
			return "", errors.New("a root has no parent: there is one level of authorities below it")
		case row.Role == store.RoleDaemon:
			return "", fmt.Errorf("%s signs nothing but the daemon's own certificates: clients learn of its CA from the authority they trust, and from no root", name)
		case retired(*row, now):
			return "", fmt.Errorf("%s is retired: it gets no more CA certificates", name)
		case row.Parent == parent:
			return "", fmt.Errorf("%s has that parent already", name)
		}
		before = row.Parent
		detail := "parent " + orNone(parent) + " in place of " + orNone(before)
		row.Parent = parent
		if row.Subject == nil {
			// It is that of the next CA certificate, and what the parent is compared with.
			cas, err := tx.CAs(ctx, name)
			if err != nil {
				return "", err
			}
			compared := *row
			compared.Subject = subjectOf(cas)
			return detail, checkBelow(ctx, tx, now, compared)
		}
		return detail, checkBelow(ctx, tx, now, *row)
	})
	return before, err
}

func orNone(name store.AuthorityName) string {
	if name == "" {
		return "none"
	}
	return string(name)
}

// RetireAuthority has an authority issue nothing from now on but revocation lists, for as long as its CA
// certificates last. It fails with ErrNeeded if the daemon, or another authority, needs it.
func RetireAuthority(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName) error {
	now := clk.Now()
	return changeRow(ctx, st, now, name, audit.RetireAuthority, func(tx store.Tx, row *store.Authority) (string, error) {
		switch {
		case row.Role == store.RoleUsers || row.Role == store.RoleDaemon:
			return "", fmt.Errorf("%w: the daemon cannot do without %s", ErrNeeded, name)
		case retired(*row, now):
			return "", fmt.Errorf("%s is retired since %s", name, row.RetiredAt.UTC().Format(time.RFC3339))
		}
		rows, err := tx.Authorities(ctx)
		if err != nil {
			return "", err
		}
		if live := children(rows, name, now); len(live) > 0 {
			return "", fmt.Errorf("%w: %s below it: retire that first, or put it elsewhere with set-parent", ErrNeeded, joinNames(live))
		}
		row.RetiredAt = now
		return "", nil
	})
}

func joinNames(names []store.AuthorityName) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	verb := " is"
	if len(names) > 1 {
		verb = " are"
	}
	return strings.Join(texts, ", ") + verb
}

// changeRow changes the row of an authority as by says, which returns what is worth recording of it. The
// sign-offs that it had are dropped: they are of no use after any change that is made here.
func changeRow(ctx context.Context, st store.Store, now time.Time, name store.AuthorityName, action audit.Action, by func(store.Tx, *store.Authority) (string, error)) error {
	var dropped []store.Signoff
	err := st.Update(ctx, func(tx store.Tx) error {
		dropped = nil
		row, err := rowIn(ctx, tx, name)
		if err != nil {
			return err
		}
		detail, err := by(tx, &row)
		if err != nil {
			return err
		}
		if err := tx.PutAuthority(ctx, row); err != nil {
			return err
		}
		// What a daemon signs at this moment, knowing the old row, is not recorded.
		if _, err := tx.AddCounter(ctx, name, store.CounterCA, 1); err != nil {
			return err
		}
		e := audit.NewEntry(now, string(name), operator(), action, audit.Object{Kind: audit.KindAuthority, ID: string(name)})
		e.Detail = detail
		if err := tx.AppendAudit(ctx, e); err != nil {
			return err
		}
		dropped, err = tx.Signoffs(ctx, name)
		for _, s := range dropped {
			if err := dropSignoff(ctx, tx, now, s, "the parent no longer counts"); err != nil {
				return err
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return eraseKeys(ctx, dropped)
}

func dropSignoff(ctx context.Context, tx store.Tx, now time.Time, s store.Signoff, why string) error {
	if err := tx.DeleteSignoff(ctx, s.Authority, s.ID); err != nil {
		return err
	}
	e := audit.NewEntry(now, string(s.Authority), operator(), audit.DropSignoff, audit.CAObject(s.KeyID))
	e.Detail = why
	return tx.AppendAudit(ctx, e)
}

// eraseKeys erases the keys of sign-offs that are gone.
func eraseKeys(ctx context.Context, dropped []store.Signoff) error {
	var errs []error
	for _, s := range dropped {
		errs = append(errs, keys.From(ctx).Erase(context.WithoutCancel(ctx), keys.Ref(s.Key)))
	}
	return errors.Join(errs...)
}
