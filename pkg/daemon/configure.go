package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/ca"
	"cauase/pkg/pki"
	"cauase/pkg/store"
)

// A configured is what a start has to change in the store so that it says what the options say.
type configured struct {
	changes []configuredRow
	netloc  string // empty: it is the one in the store
	users   string // how many there may be; empty: as the store says
	// locks are the authorities whose automatic approvals have to be locked: all in one transaction, so that no crash leaves
	// one with a number that the next start can change.
	locks []store.Authority
	keys  []placedKey
	now   time.Time
}

// A configuredRow is an authority as it has to be, and the record of its change.
type configuredRow struct {
	row   store.Authority
	entry audit.Entry
}

func (c configured) empty() bool {
	return len(c.changes) == 0 && c.netloc == "" && c.users == "" && len(c.locks) == 0 && len(c.keys) == 0
}

// configureAuthorities makes the rows of the authorities that every daemon has, or changes them to what the
// options say, and stores the address at which daemons are reached and how many users there may be, for commands that
// run without one. The daemon that was started last prevails; the others follow it. Nothing is written when nothing
// changes.
func (d *Daemon) configureAuthorities(ctx context.Context) error {
	now := d.clock.Now()
	var due configured
	err := d.store.View(ctx, func(r store.Reader) (err error) {
		due, err = d.cfg.compare(ctx, r, now)
		return err
	})
	if err != nil || due.empty() {
		return err
	}
	err = d.store.Update(ctx, func(tx store.Tx) (err error) {
		// Another daemon that starts at the same time may have been faster.
		if due, err = d.cfg.compare(ctx, tx, now); err != nil {
			return err
		}
		return due.write(ctx, tx)
	})
	if err != nil {
		return err
	}
	for _, c := range due.changes {
		d.log.InfoContext(ctx, "the options decide about an authority", "authority", string(c.row.Name),
			"action", string(c.entry.Action), "detail", c.entry.Detail)
	}
	for _, c := range due.keys {
		d.log.InfoContext(ctx, "the next keys of an authority are made elsewhere than before", "authority", string(c.authority), "detail", c.entry.Detail)
	}
	return nil
}

// compare finds out what has to change.
func (c Config) compare(ctx context.Context, r store.Reader, now time.Time) (due configured, err error) {
	due.now = now
	for _, wanted := range c.rows() {
		if c.LockAutoApprove && wanted.Role != store.RoleDaemon {
			switch _, err := r.Setting(ctx, wanted.Name, store.SettingAutoApprove); {
			case errors.Is(err, store.ErrNotFound):
				due.locks = append(due.locks, wanted)
			case err != nil:
				return due, err
			}
		}
		entry := func(action audit.Action, detail string) audit.Entry {
			e := audit.NewEntry(now, string(wanted.Name), audit.Actor{Kind: audit.Daemon}, action, audit.AuthorityObject(string(wanted.Name)))
			e.Detail = detail
			return e
		}
		row, err := r.Authority(ctx, wanted.Name)
		switch {
		case errors.Is(err, store.ErrNotFound):
			wanted.CreatedAt = now
			due.changes = append(due.changes, configuredRow{wanted, entry(audit.AddAuthority, difference(store.Authority{}, wanted))})
			continue
		case err != nil:
			return due, err
		case row.Role != wanted.Role:
			return due, fmt.Errorf("the authority %s has the role %s in the database, and must have %s", wanted.Name, row.Role, wanted.Role)
		}
		changed := withLimits(row, wanted)
		if what := difference(row, changed); what != "" {
			due.changes = append(due.changes, configuredRow{changed, entry(audit.ChangeAuthority, what)})
		}
	}
	switch known, err := r.Setting(ctx, "", store.SettingNetloc); {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return due, err
	case known != c.Netloc.String():
		due.netloc = c.Netloc.String()
	}
	users := strconv.Itoa(cmp.Or(c.Lineages.MaxUsers, ca.DefaultMaxUsers))
	switch known, err := r.Setting(ctx, "", store.SettingMaxUsers); {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return due, err
	case known != users:
		due.users = users
	}
	due.keys, err = c.comparePlaces(ctx, r, now)
	return due, err
}

func (c configured) write(ctx context.Context, tx store.Tx) error {
	for _, change := range c.changes {
		if err := tx.PutAuthority(ctx, change.row); err != nil {
			return err
		}
		if err := tx.AppendAudit(ctx, change.entry); err != nil {
			return err
		}
	}
	for _, change := range c.keys {
		if err := change.write(ctx, tx); err != nil {
			return err
		}
	}
	for _, row := range c.locks {
		if err := ca.LockAutoApproval(ctx, tx, c.now, row); err != nil {
			return err
		}
	}
	for name, value := range map[string]string{store.SettingNetloc: c.netloc, store.SettingMaxUsers: c.users} {
		if value == "" {
			continue
		}
		if err := tx.PutSetting(ctx, "", name, value); err != nil {
			return err
		}
	}
	return nil
}

// withLimits returns row with what the options decide about it. Everything else stays.
func withLimits(row, wanted store.Authority) store.Authority {
	row.Span, row.Life, row.KeyType = wanted.Span, wanted.Life, wanted.KeyType
	row.MaxPending, row.AutoApprove = wanted.MaxPending, wanted.AutoApprove
	return row
}

// difference says what is new in an authority's row, in the form name=value, name=value; empty if nothing is.
func difference(old, row store.Authority) (what string) {
	note := func(name string, same bool, value any) {
		if same {
			return
		}
		if what != "" {
			what += ", "
		}
		what += fmt.Sprintf("%s=%v", name, value)
	}
	note("role", old.Role == row.Role, row.Role)
	note("title", old.Title == row.Title, row.Title)
	note("parent", old.Parent == row.Parent, row.Parent)
	note("subject", string(old.Subject) == string(row.Subject), fmt.Sprintf("%x", row.Subject))
	note("permitted", slices.Equal(old.Permitted, row.Permitted), row.Permitted)
	note("validity", old.Span == row.Span, row.Span)
	note("life", old.Life == row.Life, row.Life)
	note("key-type", old.KeyType == row.KeyType, row.KeyType)
	note("profile", old.Profile == row.Profile, row.Profile)
	note("profiles", slices.Equal(old.Profiles, row.Profiles), row.Profiles)
	note("max-pending", old.MaxPending == row.MaxPending, row.MaxPending)
	note("auto-approve", old.AutoApprove == row.AutoApprove, row.AutoApprove)
	note("crl-life", old.CRLLife == row.CRLLife, row.CRLLife)
	note("retired", old.RetiredAt.Equal(row.RetiredAt), row.RetiredAt.UTC().Format(time.RFC3339))
	return pki.EscapeText(what)
}
