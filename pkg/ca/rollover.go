package ca

import (
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/clock"
	"cauase/pkg/keys"
	"cauase/pkg/pki"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A state is what an operation works with: the CA certificates and which of them signs.
type state struct {
	*generations
	signer generation
}

// current returns the state at now, rolling over first when that is due. When the rollover
// fails while a CA certificate is still valid, that one goes on signing; so it does for everybody
// else while one operation rolls over.
func (a *Authority) current(ctx context.Context, now time.Time) (state, error) {
	if err := a.cfg.Ready(); err != nil {
		return state{}, fmt.Errorf("%w: %w", ErrNoSigner, err)
	}
	if a.external() {
		return state{}, fmt.Errorf("%w: the keys of %s are kept elsewhere", ErrNoSigner, a.name)
	}
	if err := a.locked(); err != nil {
		return state{}, err
	}
	g, err := a.opened(ctx)
	if err != nil {
		return state{}, err
	}
	plan := a.cfg.Decide(now, a.spans, g.times())
	if plan.Create && !a.retired(now) && (plan.Signer == rollover.None || !a.failedLately(now)) {
		if err := a.rollOver(ctx, now, plan.Signer == rollover.None); err != nil && plan.Signer == rollover.None {
			return state{}, err
		}
		g = a.cas.Load()
		plan = a.cfg.Decide(now, a.spans, g.times())
	}
	if plan.Signer != rollover.None && g.list[plan.Signer].locked != nil {
		return state{}, fmt.Errorf("authority %s: %w", a.name, g.list[plan.Signer].locked)
	}
	if plan.Signer == rollover.None || g.list[plan.Signer].key == nil {
		return state{}, fmt.Errorf("%w: %s", ErrNoSigner, now.Format(time.RFC3339))
	}
	return state{g, g.list[plan.Signer]}, nil
}

// rolloverRetry is how long operations do without another attempt at a rollover that has
// failed: making a key is work, and whatever stands in the way does not go away with the next request.
const rolloverRetry = 10 * time.Second

func (a *Authority) failedLately(now time.Time) bool {
	at := a.rolloverFailed.Load()
	if at == nil {
		return false
	}
	ago := now.Sub(*at)
	return ago >= 0 && ago < min(rolloverRetry, a.spans.Leaf/100)
}

// rollOver makes a new generation if one is due. While it does, which takes as long as a key and
// some signatures take, others who find that one is due go on with the generations there are, unless
// they must wait for it.
func (a *Authority) rollOver(ctx context.Context, now time.Time, wait bool) (err error) {
	if a.external() || a.retired(now) {
		return nil
	}
	if wait {
		if err := a.rolling.lock(ctx); err != nil {
			return err
		}
	} else if !a.rolling.tryLock() {
		return nil
	}
	defer a.rolling.unlock()
	defer func() {
		a.rolloverFailed.Store(nil)
		if err != nil {
			a.rolloverFailed.Store(&now)
			if errors.Is(err, ErrSignoff) || errors.Is(err, ErrLocked) {
				return // which was said when it was asked for, or the daemon was started, and is to be seen in readiness
			}
			a.log.ErrorContext(ctx, "no new CA certificate could be made", "error", err, "current_one_ends", a.ends(now))
		}
	}()
	for range attempts {
		// Another operation, or another daemon, may have been faster.
		if !a.cfg.Decide(now, a.spans, a.cas.Load().times()).Create {
			return nil
		}
		if err = a.reload(ctx); err != nil {
			return err
		}
		loaded := a.cas.Load()
		if !a.cfg.Decide(now, a.spans, loaded.times()).Create {
			return nil
		}
		if _, err = a.succeed(ctx, now, loaded, nil); !errors.Is(err, errStale) {
			return err
		}
		if parent, _ := a.parent(); parent != nil {
			if err := parent.reload(ctx); err != nil { // it may be the one that has changed
				return err
			}
		}
	}
	return err
}

// succeed makes the successor of the generations loaded, and stores it unless they have changed
// by then. A rotation says how, if it is made out of turn.
func (a *Authority) succeed(ctx context.Context, now time.Time, loaded *generations, early *rotation) (made generation, err error) {
	next := &generations{revoked: loaded.revoked, retiredAt: loaded.retiredAt}
	var fromFuture []generation
	for _, g := range loaded.list {
		if now.Before(g.times.NotBefore) {
			fromFuture = append(fromFuture, g)
		} else {
			next.list = append(next.list, g)
		}
	}
	made, by, signedOff, err := a.nextGeneration(ctx, now, next)
	if err != nil {
		return made, err
	}
	early.begin(&made, now, a.spans)
	kept := signedOff != nil // whatever happens, the key stands in the row of the sign-off
	defer func() {
		// When it is not known whether it was stored, it is kept: it may be all there is.
		if !kept && !errors.Is(err, store.ErrUncertain) {
			a.erase(ctx, made.ref)
		}
	}()
	err = a.store.Update(ctx, func(tx store.Tx) error {
		if err := a.unchanged(ctx, tx, loaded.version); err != nil {
			return err
		}
		for _, g := range fromFuture {
			if err := a.disown(ctx, tx, now, g); err != nil {
				return err
			}
		}
		if err := tx.DeleteSetting(ctx, a.name, store.SettingNextKeyType); err != nil {
			return err
		}
		if signedOff != nil {
			if err := tx.DeleteSignoff(ctx, a.name, signedOff.ID); errors.Is(err, store.ErrNotFound) {
				return errStale // another daemon was faster
			} else if err != nil {
				return err
			}
		}
		if err := by.recordIn(ctx, tx, now, audit.Actor{Kind: audit.Daemon}, made.crt, nil); err != nil {
			return err
		}
		if len(next.list)+len(next.revoked)+len(fromFuture) == 0 {
			if err := WithoutFollowers(ctx, tx, a.name); err != nil {
				return err
			}
		}
		if made.id, next.version, err = a.addGeneration(ctx, tx, now, made, by); err != nil || early == nil {
			return err
		}
		next.version, err = a.recordRotation(ctx, tx, now, early, made, next.list)
		return err
	})
	if err != nil {
		return made, err
	}
	kept = true
	if early != nil && early.withdraws() {
		a.erased(ctx, next.list)
		return made, a.reload(ctx)
	}
	next.list = append(next.list, made)
	for _, g := range fromFuture {
		a.erase(ctx, g.ref)
		a.log.WarnContext(ctx, "a CA certificate from the future is not used any more: it was made while the clock was ahead",
			"key_id", hex.EncodeToString(g.crt.SubjectKeyId), "not_before", g.times.NotBefore)
	}
	a.log.InfoContext(ctx, "new CA certificate", "key_id", hex.EncodeToString(made.crt.SubjectKeyId),
		"not_after", made.times.NotAfter, "generation", len(next.list))
	if !a.cas.CompareAndSwap(loaded, next) {
		return made, a.reload(ctx)
	}
	return made, nil
}

// nextGeneration makes the generation that follows those of next: the one that a parent has signed off
// for this time, if there is one, else a new one with a new key.
func (a *Authority) nextGeneration(ctx context.Context, now time.Time, next *generations) (made generation, by issuer, signedOff *store.Signoff, err error) {
	if a.row.Parent != "" {
		if made, signedOff, err = a.signedOff(ctx, now, next); err != nil || signedOff != nil {
			return made, issuer{}, signedOff, err
		}
		// Fail before a key is made for nothing.
		if _, err := a.issuerOf(ctx, now, nil); err != nil {
			return generation{}, issuer{}, nil, err
		}
	}
	ref, key, err := a.nextKey(ctx, now, next)
	if err != nil {
		return generation{}, issuer{}, nil, err
	}
	by, err = a.issuerOf(ctx, now, key)
	if err == nil {
		made, err = a.newGeneration(ctx, now, key, next, by)
	}
	if err != nil {
		a.erase(ctx, ref)
		return generation{}, issuer{}, nil, err
	}
	made.ref = ref
	return made, by, nil, nil
}

// ends is when the last CA certificate ends that can be used, as of now.
func (a *Authority) ends(now time.Time) string {
	var last time.Time
	for _, g := range a.cas.Load().valid(now) {
		last = later(last, g.times.NotAfter)
	}
	if last.IsZero() {
		return "none is valid"
	}
	return last.Format(time.RFC3339)
}

// unchanged fails with errStale unless the CA certificates in the store are those of this version.
func (a *Authority) unchanged(ctx context.Context, r store.Reader, version int64) error {
	switch now, err := r.Counter(ctx, a.name, store.CounterCA); {
	case err != nil:
		return err
	case now != version:
		return errStale
	}
	return nil
}

// addGeneration stores made, and returns its id and the version of the CA certificates with it.
func (a *Authority) addGeneration(ctx context.Context, tx store.Tx, now time.Time, made generation, by issuer) (id, version int64, err error) {
	row := store.CA{
		Authority:   a.name,
		CreatedAt:   made.times.CreatedAt,
		NotBefore:   made.times.NotBefore,
		NotAfter:    made.times.NotAfter,
		KeyID:       made.crt.SubjectKeyId,
		Certificate: made.crt.Raw,
		Link:        made.link,
		Activation:  made.begin,
		ActivatedAt: made.times.ActivatedAt,
	}
	if made.anchor != nil {
		row.Anchor, row.ParentLink = made.anchor.Raw, made.parentLink
	}
	if by.parent != nil {
		row.ParentAuthority, row.ParentCA = by.parent.name, by.st.signer.id
	} else if !selfSigned(made.crt) {
		row.ParentAuthority = a.row.Parent
	}
	setRef(&row, made.ref)
	if id, err = tx.AddCA(ctx, row); err != nil {
		return 0, 0, err
	}
	if version, err = tx.AddCounter(ctx, a.name, store.CounterCA, 1); err != nil {
		return 0, 0, err
	}
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.CreateCA, audit.CAObject(made.crt.SubjectKeyId))
	e.Digest = digestOf(made.crt.Raw)
	e.Detail = "valid until " + made.times.NotAfter.Format(time.RFC3339)
	return id, version, tx.AppendAudit(ctx, e)
}

// disown sets aside a generation from the future, made while the clock was far ahead: its successor
// follows the generations that hosts know.
func (a *Authority) disown(ctx context.Context, tx store.Tx, now time.Time, g generation) error {
	return a.forgetKey(ctx, tx, now, g, store.CADisowned, "made while the clock was ahead, not used any more")
}

// forgetKey removes the key from the row of a CA, for the reason given.
func (a *Authority) forgetKey(ctx context.Context, tx store.Tx, now time.Time, g generation, state store.CAState, why string) error {
	if err := tx.EraseCAKey(ctx, a.name, g.id, state); err != nil {
		return err
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCA, 1); err != nil {
		return err
	}
	e := a.entry(now, audit.Actor{Kind: audit.Daemon}, audit.ExpireCA, audit.CAObject(g.crt.SubjectKeyId))
	e.Detail = why
	return tx.AppendAudit(ctx, e)
}

// erase has the custodian erase a key that the store no longer refers to.
func (a *Authority) erase(ctx context.Context, ref keys.Ref) {
	// The caller may have given up waiting.
	if err := a.cfg.Custody.Erase(context.WithoutCancel(ctx), ref); err != nil {
		a.log.ErrorContext(ctx, "a key that is not used any more could not be erased", "custody", ref.Custody, "error", err)
	}
}

// nextKeyType is the type of the next CA key: the one an operator has asked for, else that of
// the key before it. A changed default or flag changes nothing: hosts that verify certificates
// today may not know another algorithm.
func (a *Authority) nextKeyType(ctx context.Context, g *generations) (pki.KeyType, error) {
	var chosen string
	err := a.store.View(ctx, func(r store.Reader) (err error) {
		chosen, err = r.Setting(ctx, a.name, store.SettingNextKeyType)
		return err
	})
	switch {
	case err == nil:
		t, err := pki.ParseKeyType(chosen)
		if err != nil {
			return "", fmt.Errorf("%w: setting %s of %s: %w", ErrDamaged, store.SettingNextKeyType, a.name, err)
		}
		return t, nil
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	case len(g.list) == 0:
		return pki.KeyType(a.row.KeyType), nil
	default:
		return pki.KeyTypeOf(g.newest().crt.PublicKey)
	}
}

// nextKey makes the key of the generation that follows those of g.
func (a *Authority) nextKey(ctx context.Context, now time.Time, g *generations) (keys.Ref, crypto.Signer, error) {
	keyType, err := a.nextKeyType(ctx, g)
	if err != nil {
		return keys.Ref{}, nil, err
	}
	purpose, err := purposeOf(a.name, now, nil)
	if err != nil {
		return keys.Ref{}, nil, err
	}
	if purpose.Place, err = a.keyPlace(ctx); err != nil {
		return keys.Ref{}, nil, err
	}
	ref, key, err := a.cfg.Custody.Generate(ctx, purpose, keyType)
	if err != nil {
		return keys.Ref{}, nil, fmt.Errorf("CA key: %w", err)
	}
	return ref, key, nil
}

// keyPlace is where the next CA key is made: see keys.Purpose.
func (a *Authority) keyPlace(ctx context.Context) (place string, err error) {
	err = a.store.View(ctx, func(r store.Reader) (err error) {
		place, err = r.Setting(ctx, a.name, store.SettingKeyPlace)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return a.cfg.KeyPlace, nil
	}
	return place, err
}

// NextKey returns of which type the next CA key will be, and where it will be made: see keys.Purpose.
func (a *Authority) NextKey(ctx context.Context) (keyType pki.KeyType, place string, err error) {
	if keyType, err = a.nextKeyType(ctx, a.cas.Load()); err != nil {
		return "", "", err
	}
	place, err = a.keyPlace(ctx)
	return keyType, place, err
}

// SetNextKeyType chooses, on an operator's behalf, the type of the next CA key of an authority,
// which is then kept until chosen otherwise. It takes no Authority: no daemon need run.
func SetNextKeyType(ctx context.Context, st store.Store, clk clock.Clock, name store.AuthorityName, keyType pki.KeyType) error {
	if _, err := pki.ParseKeyType(string(keyType)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	e := audit.NewEntry(clk.Now(), string(name), audit.Actor{Kind: audit.Operator}, audit.SetKeyType, audit.Object{Kind: audit.KindSetting, ID: store.SettingNextKeyType})
	e.Detail = string(keyType)
	return st.Update(ctx, func(tx store.Tx) error {
		if err := tx.PutSetting(ctx, name, store.SettingNextKeyType, string(keyType)); err != nil {
			return err
		}
		return tx.AppendAudit(ctx, e)
	})
}
