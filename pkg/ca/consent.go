package ca

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/store"
)

// ConsentLife is how long a user's decision about an origin holds.
const ConsentLife = 90 * 24 * time.Hour

const (
	maxConsents = 100 // of one lineage; the oldest make room
	maxOrigin   = 300
)

// A Consent is what a user has decided about web pages of an origin: whether they may act in the user's name.
type Consent struct {
	Origin  string
	Allowed bool
	At      time.Time
}

// consentsOf names the setting with the decisions of a user: of the lineage, so that renewals keep them, and nobody
// else has them.
func consentsOf(user audit.Actor) string {
	if user.Lineage != "" {
		return store.SettingConsents + user.Lineage
	}
	return store.SettingConsents + "serial-" + user.Serial.String() // of a certificate that is not on record
}

func formatConsents(list []Consent) string {
	var text strings.Builder
	for _, c := range list {
		fmt.Fprintf(&text, "%d %t %s\n", c.At.UnixMicro(), c.Allowed, c.Origin)
	}
	return text.String()
}

// ParseConsents reads the value of a setting with decisions.
func ParseConsents(text string) (list []Consent, err error) {
	for line := range strings.Lines(text) {
		parts := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(parts) != 3 {
			return nil, errors.New("not decisions about origins")
		}
		micros, err := strconv.ParseInt(parts[0], 10, 64)
		allowed, wrong := strconv.ParseBool(parts[1])
		if err = errors.Join(err, wrong); err != nil {
			return nil, errors.New("not decisions about origins")
		}
		list = append(list, Consent{parts[2], allowed, time.UnixMicro(micros).UTC()})
	}
	return list, nil
}

func (a *Authority) consents(ctx context.Context, r store.Reader, now time.Time, user audit.Actor) ([]Consent, error) {
	text, err := r.Setting(ctx, a.name, consentsOf(user))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	list, err := ParseConsents(text)
	if err != nil {
		return nil, fmt.Errorf("%w: setting %s of %s: %w", ErrDamaged, consentsOf(user), a.name, err)
	}
	return slices.DeleteFunc(list, func(c Consent) bool { return now.Sub(c.At) >= ConsentLife }), nil
}

// Consents returns what a user has decided that still holds, oldest first.
func (a *Authority) Consents(ctx context.Context, user audit.Actor) (list []Consent, err error) {
	now := a.clock.Now()
	err = a.store.View(ctx, func(r store.Reader) error {
		list, err = a.consents(ctx, r, now, user)
		return err
	})
	return list, err
}

// Consent records what a user decides about an origin.
func (a *Authority) Consent(ctx context.Context, user audit.Actor, origin string, allowed bool) error {
	if len(origin) > maxOrigin || strings.ContainsAny(origin, " \n") {
		return fmt.Errorf("%w: the origin is longer than %d bytes, or none", ErrInvalid, maxOrigin)
	}
	now := a.clock.Now()
	action := audit.DenyOrigin
	if allowed {
		action = audit.GrantOrigin
	}
	return a.changeConsents(ctx, now, user, func(list []Consent) ([]Consent, []audit.Entry) {
		list = slices.DeleteFunc(list, func(c Consent) bool { return c.Origin == origin })
		list = append(list, Consent{origin, allowed, now})
		return list[max(0, len(list)-maxConsents):], []audit.Entry{a.entry(now, user, action, audit.OriginObject(origin))}
	})
}

// WithdrawConsents forgets what a user has decided about an origin, about all of them if it is empty, so that pages from there have to
// ask again, in whatever browser. ErrNotFound: nothing was decided.
func (a *Authority) WithdrawConsents(ctx context.Context, user audit.Actor, origin string) error {
	now := a.clock.Now()
	found := false
	err := a.changeConsents(ctx, now, user, func(list []Consent) (kept []Consent, entries []audit.Entry) {
		for _, c := range list {
			if origin != "" && c.Origin != origin {
				kept = append(kept, c)
				continue
			}
			entries = append(entries, a.entry(now, user, audit.WithdrawOrigin, audit.OriginObject(c.Origin)))
		}
		found = len(entries) > 0
		return kept, entries
	})
	if err == nil && !found {
		return fmt.Errorf("%w: decision about %s", ErrNotFound, origin)
	}
	return err
}

func (a *Authority) changeConsents(ctx context.Context, now time.Time, user audit.Actor, change func([]Consent) ([]Consent, []audit.Entry)) error {
	return a.updateFor(ctx, user, func(tx store.Tx) error {
		old, err := a.consents(ctx, tx, now, user)
		if err != nil {
			return err
		}
		list, entries := change(old)
		if len(list) == 0 {
			err = tx.DeleteSetting(ctx, a.name, consentsOf(user))
		} else {
			err = tx.PutSetting(ctx, a.name, consentsOf(user), formatConsents(list))
		}
		for _, e := range entries {
			err = errors.Join(err, tx.AppendAudit(ctx, e))
		}
		return err
	})
}
