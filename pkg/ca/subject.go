package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/pki"
	"cauase/pkg/profile"
	"cauase/pkg/store"
)

// subject is the name of the authority's first CA certificate.
func (a *Authority) subject() ([]byte, error) {
	if a.row.Subject != nil {
		return a.row.Subject, nil
	}
	return profile.CommonName(shorten(a.row.Title + " at " + a.cfg.Netloc))
}

// shorten keeps a common name within ub-common-name, 64 characters (RFC 5280 appendix A.1).
// The end of a host name is what the organisation's hosts share, so that the middle goes.
func shorten(cn string) string {
	const limit = 64
	if len(cn) <= limit {
		return cn
	}
	const gap = "..."
	head := (limit - len(gap)) / 2
	return cn[:head] + gap + cn[len(cn)-(limit-len(gap)-head):]
}

// nextSubject is the name of the CA certificate for pub, valid from then on, that follows predecessor: that of
// the authority, with what tells this generation from the others. It is the predecessor's own as long as there are clients
// that would not follow otherwise.
func (a *Authority) nextSubject(ctx context.Context, now, from time.Time, pub crypto.PublicKey, predecessor *generation) ([]byte, error) {
	if predecessor == nil {
		return a.subject()
	}
	seen, err := a.strictFollower(ctx)
	if err != nil {
		return nil, err
	}
	if now.Before(seen.Add(a.spans.Leaf)) {
		a.log.WarnContext(ctx, "the next CA certificate has the subject of the one before, as there are clients of a version that follows no other: update them",
			"last_seen", seen, "subject", pki.SubjectString(predecessor.crt.RawSubject))
		return predecessor.crt.RawSubject, nil
	}
	subject, err := pki.GenerationSubject(predecessor.crt.RawSubject, from, pub)
	if err != nil {
		// The name of an imported CA can be anything.
		a.log.WarnContext(ctx, "the next CA certificate has the subject of the one before", "reason", err)
		return predecessor.crt.RawSubject, nil
	}
	return subject, nil
}

// followers are clients that refuse a successor whose subject is not, byte for byte, that of its predecessor.
// Those of cauase did before generations had subjects of their own. As they renew, and fetch the succession again
// and again, they are seen; when none was for a span, in which everybody has renewed, there are none any more.
//
// Anybody can pass for one that fetches the succession. That counts only where there are such clients in any case, or may be:
// otherwise strangers could have verifiers that find issuers by name fail at the next rollover.
type followers struct {
	// When this daemon has last seen one; nil: never.
	holders  atomic.Pointer[time.Time] // that has a certificate
	visitors atomic.Pointer[time.Time] // that may be anybody
}

// followersEvery is how much later, as a part of a span, one has to be seen for that to be recorded again.
const followersEvery = 100

// NoteStrictFollower says that a client was seen which follows only to CA certificates of the same subject, and whether it is known to hold a
// certificate of this authority.
func (a *Authority) NoteStrictFollower(holder bool) {
	now := a.clock.Now()
	if holder {
		a.followers.holders.Store(&now)
	}
	a.followers.visitors.Store(&now)
}

// since is when one was last seen, of which this was recorded before.
func (f *followers) since(recorded time.Time) time.Time {
	if at := f.holders.Load(); at != nil {
		recorded = later(recorded, *at)
	}
	if at := f.visitors.Load(); at != nil && !recorded.IsZero() {
		recorded = later(recorded, *at)
	}
	return recorded
}

// WithoutFollowers records that no client which is strict about subjects can know the authority, as it is
// new here.
func WithoutFollowers(ctx context.Context, tx store.Tx, name store.AuthorityName) error {
	return tx.PutSetting(ctx, name, store.SettingStrictFollower, store.NoStrictFollower)
}

// expectFollowers records, when nothing is known of them yet, that there are such clients: an earlier version has made the CA
// certificates that there are.
func (a *Authority) expectFollowers(ctx context.Context, now time.Time) error {
	if a.cas.Load().last() == nil || a.external() || a.row.Role == store.RoleDaemon {
		return nil
	}
	err := a.store.View(ctx, func(r store.Reader) error {
		_, err := r.Setting(ctx, a.name, store.SettingStrictFollower)
		return err
	})
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		if _, err := tx.Setting(ctx, a.name, store.SettingStrictFollower); !errors.Is(err, store.ErrNotFound) {
			return err // of several daemons that start at once, the first says it
		}
		return tx.PutSetting(ctx, a.name, store.SettingStrictFollower, now.UTC().Format(time.RFC3339))
	})
}

// strictFollower is when such a client was last seen; zero: never. Of the authority of the daemon's own certificates
// nobody follows the succession.
func (a *Authority) strictFollower(ctx context.Context) (seen time.Time, err error) {
	if a.row.Role == store.RoleDaemon {
		return time.Time{}, nil
	}
	err = a.store.View(ctx, func(r store.Reader) error {
		seen, err = a.recordedFollower(ctx, r)
		return err
	})
	return a.followers.since(seen), err
}

func (a *Authority) recordedFollower(ctx context.Context, r store.Reader) (time.Time, error) {
	text, err := r.Setting(ctx, a.name, store.SettingStrictFollower)
	if errors.Is(err, store.ErrNotFound) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, err
	}
	at, err := ParseStrictFollower(text)
	if err != nil {
		return at, fmt.Errorf("%w: setting %s of %s: %w", ErrDamaged, store.SettingStrictFollower, a.name, err)
	}
	return at, nil
}

// ParseStrictFollower reads when a client was last seen that follows only to CA certificates of the same subject;
// zero: never.
func ParseStrictFollower(text string) (time.Time, error) {
	if text == store.NoStrictFollower {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%.40q is not a time", text)
	}
	return at, nil
}

// recordFollower records that such a client was seen here, for the other daemons and for later.
func (a *Authority) recordFollower(ctx context.Context) error {
	holder, visitor := a.followers.holders.Load(), a.followers.visitors.Load()
	if visitor == nil {
		return nil
	}
	stale := func(r store.Reader) (seen time.Time, stale bool, err error) {
		recorded, err := a.recordedFollower(ctx, r)
		seen = a.followers.since(recorded)
		return seen, seen.Sub(recorded) >= a.spans.Leaf/followersEvery, err
	}
	due := false
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		_, due, err = stale(r)
		return err
	})
	if err == nil && due {
		err = a.store.Update(ctx, func(tx store.Tx) error {
			seen, due, err := stale(tx)
			if err != nil || !due {
				return err
			}
			return tx.PutSetting(ctx, a.name, store.SettingStrictFollower, seen.UTC().Format(time.RFC3339))
		})
	}
	if err == nil {
		// From now on the record counts, which an operator may change.
		a.followers.holders.CompareAndSwap(holder, nil)
		a.followers.visitors.CompareAndSwap(visitor, nil)
	}
	return err
}

// GiveOwnSubjects says, on an operator's behalf, that there are no clients any more that follow only to CA certificates of the same
// subject, until one is seen that holds a certificate. It takes no Authority: no daemon need run.
func GiveOwnSubjects(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName) error {
	e := audit.NewEntry(clk.Now(), string(name), audit.Actor{Kind: audit.Operator}, audit.OwnSubjects, audit.Object{Kind: audit.KindSetting, ID: store.SettingStrictFollower})
	e.Detail = "no client of an earlier version is left"
	return st.Update(ctx, func(tx store.Tx) error {
		if err := WithoutFollowers(ctx, tx, name); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, e)
	})
}
