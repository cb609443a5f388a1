package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/keys"
	"cauase/pkg/store"
	"cauase/pkg/token"
)

// A KeyError is an error about where the keys of an authority are made.
type KeyError struct {
	Authority store.AuthorityName
	Err       error
}

func (e *KeyError) Error() string {
	return fmt.Sprintf("authority %s: its next key: %v", e.Authority, e.Err)
}
func (e *KeyError) Unwrap() error { return e.Err }

// openTokens makes the custody of CA keys. Tokens are looked for when they are needed.
func (d *Daemon) openTokens() (err error) {
	if d.tokens, err = token.New(token.Config{Tokens: d.cfg.Tokens, Clock: d.clock, Log: d.log}); err != nil {
		return &SettingError{Token, err}
	}
	d.custody = token.NewCustody(d.tokens, d.vault.Keyring)
	return nil
}

// checkTokens looks whether keys can be made where they are meant to be. That a token is not there is no reason not to start: what was
// signed is served, and the token may come.
func (d *Daemon) checkTokens(ctx context.Context) error {
	for _, a := range d.listed() {
		if a.External() {
			continue
		}
		keyType, place, err := a.NextKey(ctx)
		if err != nil {
			return err
		}
		if !token.Is(place) {
			continue
		}
		uri, err := token.Parse(place)
		if err == nil {
			err = d.tokens.Check(ctx, uri, keyType)
		}
		switch {
		case errors.Is(err, keys.ErrLocked):
			d.log.WarnContext(ctx, "keys are on a token that cannot be used at the moment: what was signed is served, and nothing is signed until the token can",
				"authority", string(a.Name()), "error", err)
		case err != nil:
			return &KeyError{a.Name(), err}
		}
	}
	return nil
}

// A placedKey is a change of where the keys of an authority are made.
type placedKey struct {
	authority store.AuthorityName
	place     string // empty: in the database
	entry     audit.Entry
}

// comparePlaces finds out what the store says else than the options of where keys are made.
func (c Config) comparePlaces(ctx context.Context, r store.Reader, now time.Time) (due []placedKey, err error) {
	for _, name := range slices.Sorted(maps.Keys(c.Keys)) {
		known, err := r.Setting(ctx, name, store.SettingKeyPlace)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		place := c.Keys[name]
		if known == place {
			continue
		}
		if _, err := r.Authority(ctx, name); errors.Is(err, store.ErrNotFound) {
			if _, standard := store.Standard(name, now); !standard {
				continue // until it is added
			}
		} else if err != nil {
			return nil, err
		}
		e := audit.NewEntry(now, string(name), audit.Actor{Kind: audit.Daemon}, audit.ChangeAuthority, audit.AuthorityObject(string(name)))
		if e.Detail = "key=" + place; place == "" {
			e.Detail = "key=database"
		}
		due = append(due, placedKey{name, place, e})
	}
	return due, nil
}

// write records where keys are made from now on.
func (p placedKey) write(ctx context.Context, tx store.Tx) (err error) {
	if p.place == "" {
		err = tx.DeleteSetting(ctx, p.authority, store.SettingKeyPlace)
	} else {
		err = tx.PutSetting(ctx, p.authority, store.SettingKeyPlace, p.place)
	}
	if err != nil {
		return err
	}
	return tx.AppendAudit(ctx, p.entry)
}
