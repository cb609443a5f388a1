package ca

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// An authority whose keys are kept elsewhere, such as an offline root, is known here by its CA
// certificates and by the revocation lists that operators import.

// External reports whether the keys of this authority are kept elsewhere.
func (a *Authority) External() bool { return a.external() }

// listSetting is the setting that holds the list of a CA that is kept elsewhere.
func listSetting(keyID []byte) string { return store.SettingExternalCRL + hex.EncodeToString(keyID) }

// A suppliedCache holds the lists as of one value of store.CounterImportedCRL, by the CA's key identifier. It is
// immutable.
type suppliedCache struct {
	count int64
	lists map[string]List
}

// suppliedLists returns the imported revocation lists of the CAs that are valid now. A CA of which none was
// imported has none. They are read from the store once, and shared by all callers.
func (a *Authority) suppliedLists(ctx context.Context) (lists []List, err error) {
	valid := a.cas.Load().valid(a.clock.Now())
	if lists, complete, err := a.suppliedInMemory(ctx, valid); complete || err != nil {
		return lists, err
	}
	if err := a.crls.making.lock(ctx); err != nil {
		return nil, err
	}
	defer a.crls.making.unlock()
	if lists, complete, err := a.suppliedInMemory(ctx, valid); complete || err != nil {
		return lists, err
	}
	read := &suppliedCache{}
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		read.lists, lists = make(map[string]List), nil
		if read.count, err = r.Counter(ctx, a.name, store.CounterImportedCRL); err != nil {
			return err
		}
		for _, g := range valid {
			switch list, err := a.readSupplied(ctx, r, g); {
			case errors.Is(err, store.ErrNotFound):
				read.lists[string(g.crt.SubjectKeyId)] = List{}
			case err != nil:
				return err
			default:
				read.lists[string(g.crt.SubjectKeyId)] = list
				lists = append(lists, list)
			}
		}
		return nil
	})
	if err == nil {
		a.supplied.Store(read)
		a.crls.news.publish()
	}
	return lists, err
}

// suppliedInMemory returns the lists of these CAs from memory, and whether they are there and up to date.
func (a *Authority) suppliedInMemory(ctx context.Context, valid []generation) (lists []List, complete bool, err error) {
	known := a.supplied.Load()
	if known == nil {
		return nil, false, nil
	}
	var count int64
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		count, err = r.Counter(ctx, a.name, store.CounterImportedCRL)
		return err
	})
	if err != nil || count != known.count {
		return nil, false, err
	}
	for _, g := range valid {
		list, ok := known.lists[string(g.crt.SubjectKeyId)]
		if !ok {
			return nil, false, nil
		}
		if list.Octets != nil {
			lists = append(lists, list)
		}
	}
	return lists, true, nil
}

func (a *Authority) readSupplied(ctx context.Context, r store.Reader, g generation) (List, error) {
	list, err := InstalledList(ctx, r, a.name, g.crt.SubjectKeyId)
	if err != nil {
		return List{}, err
	}
	if list == nil {
		return List{}, store.ErrNotFound
	}
	return List{
		KeyID: g.crt.SubjectKeyId, Octets: pki.Octets{list.Raw}, Number: list.Number.Int64(),
		ThisUpdate: list.ThisUpdate, NextUpdate: list.NextUpdate, Modified: list.ThisUpdate,
	}, nil
}

// InstalledList returns the revocation list that was installed of a CA whose key is kept elsewhere; nil: there is none.
func InstalledList(ctx context.Context, r store.Reader, name store.AuthorityName, keyID []byte) (*x509.RevocationList, error) {
	text, err := r.Setting(ctx, name, listSetting(keyID))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	list, err := parseBrought(text)
	if err != nil {
		return nil, fmt.Errorf("%w: list of CA %x of %s: %w", ErrDamaged, keyID, name, err)
	}
	return list, nil
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
	if err := pki.CheckCRLScope(list); err != nil {
		return false, fmt.Errorf("%w: %w", ErrInvalid, err)
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
	if _, err := tx.AddCounter(ctx, name, store.CounterImportedCRL, 1); err != nil {
		return false, err
	}
	return true, tx.PutSetting(ctx, name, setting, text)
}

func (a *Authority) externalTimeline(ctx context.Context, now time.Time) (Timeline, error) {
	t := Timeline{Span: a.spans.Leaf, Now: now, Role: a.row.Role, Parent: a.row.Parent}
	lists, err := a.suppliedLists(ctx)
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
			ActiveFrom: rollover.ActiveFrom(a.spans, g.times), RetiredFrom: g.times.NotAfter,
		})
	}
	return t, nil
}

// lookForLists takes over lists that were imported since, if anybody has asked for any.
func (a *Authority) lookForLists(ctx context.Context) error {
	if a.supplied.Load() == nil {
		return nil
	}
	_, err := a.suppliedLists(ctx)
	return err
}
