package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

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
// Those of cauase did before generations had subjects of their own. As they fetch the succession again
// and again, they are seen; when none was for a span, in which everybody has renewed, there are none any more.
type followers struct {
	seen atomic.Pointer[time.Time] // by this daemon; nil: none
}

// followersEvery is how much later, as a part of a span, one has to be seen for that to be recorded again.
const followersEvery = 100

// NoteStrictFollower says that a client was seen which follows only to CA certificates of the same subject.
func (a *Authority) NoteStrictFollower() {
	now := a.clock.Now()
	a.followers.seen.Store(&now)
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
	if at := a.followers.seen.Load(); at != nil {
		seen = later(seen, *at)
	}
	return seen, err
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
	at := a.followers.seen.Load()
	if at == nil {
		return nil
	}
	enough := at.Add(-a.spans.Leaf / followersEvery)
	known := false
	err := a.store.View(ctx, func(r store.Reader) error {
		recorded, err := a.recordedFollower(ctx, r)
		known = recorded.After(enough)
		return err
	})
	if err != nil || known {
		return err
	}
	return a.store.Update(ctx, func(tx store.Tx) error {
		return tx.PutSetting(ctx, a.name, store.SettingStrictFollower, at.UTC().Format(time.RFC3339))
	})
}
