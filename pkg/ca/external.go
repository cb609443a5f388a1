package ca

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// An authority whose keys are kept elsewhere, such as an offline root, is known here by its CA
// certificates and by the revocation lists that people bring along.

// External reports whether the keys of this authority are kept elsewhere.
func (a *Authority) External() bool { return a.external() }

// listSetting is the setting that holds the list of a CA that is kept elsewhere.
func listSetting(keyID []byte) string { return store.SettingExternalCRL + hex.EncodeToString(keyID) }

// broughtLists are the revocation lists that were brought here of the CAs that are valid now. A CA of
// which none was brought has none.
func (a *Authority) broughtLists(ctx context.Context) (lists []List, err error) {
	now := a.clock.Now()
	err = a.store.View(ctx, func(r store.Reader) error {
		lists = nil
		for _, g := range a.cas.Load().valid(now) {
			text, err := r.Setting(ctx, a.name, listSetting(g.crt.SubjectKeyId))
			if errors.Is(err, store.ErrNotFound) {
				continue
			} else if err != nil {
				return err
			}
			list, err := parseBrought(text)
			if err != nil {
				return fmt.Errorf("%w: list of CA %x of %s: %w", ErrDamaged, g.crt.SubjectKeyId, a.name, err)
			}
			lists = append(lists, List{
				KeyID: g.crt.SubjectKeyId, DER: list.Raw, Number: list.Number.Int64(),
				ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate, Modified: list.ThisUpdate,
			})
		}
		return nil
	})
	return lists, err
}

func parseBrought(text string) (*x509.RevocationList, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(der)
	if err == nil && (list.Number == nil || !list.Number.IsInt64()) {
		err = errors.New("it has no number")
	}
	return list, err
}

// BringList stores a revocation list of a CA of an authority whose keys are kept elsewhere, in tx. One that is
// not newer than that which is there changes nothing.
func BringList(ctx context.Context, tx store.Tx, name store.AuthorityName, issuer *x509.Certificate, der []byte) (newer bool, err error) {
	text := base64.StdEncoding.EncodeToString(der)
	list, err := parseBrought(text)
	if err != nil {
		return false, fmt.Errorf("%w: revocation list: %w", ErrInvalid, err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return false, fmt.Errorf("%w: the revocation list is not of this CA: %w", ErrInvalid, err)
	}
	setting := listSetting(issuer.SubjectKeyId)
	switch old, err := tx.Setting(ctx, name, setting); {
	case err == nil:
		if known, err := parseBrought(old); err == nil && known.Number.Cmp(list.Number) >= 0 {
			return false, nil
		}
	case !errors.Is(err, store.ErrNotFound):
		return false, err
	}
	return true, tx.PutSetting(ctx, name, setting, text)
}

func (a *Authority) externalTimeline(ctx context.Context, now time.Time) (Timeline, error) {
	t := Timeline{Span: a.spans.Leaf, Now: now, Role: a.row.Role, Parent: a.row.Parent}
	lists, err := a.broughtLists(ctx)
	if err != nil {
		return t, err
	}
	for _, l := range lists {
		if l.Number >= t.CRLNumber {
			t.CRLNumber, t.ThisUpdate, t.NextUpdate = l.Number, l.ThisUpdate, l.NextUpdate
		}
	}
	known := a.cas.Load()
	phases := a.cfg.Decide(now, a.spans, known.times()).Phases
	for i, g := range known.list {
		if phases[i] == rollover.Expired {
			continue
		}
		t.Generations = append(t.Generations, TimelineGeneration{
			Certificate: g.trusted(), Phase: phases[i], CreatedAt: g.times.CreatedAt,
			ActiveFrom: rollover.ActiveAt(a.spans, g.times), RetiredFrom: g.times.NotAfter,
		})
	}
	return t, nil
}
