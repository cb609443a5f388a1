package ca

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"cauase/pkg/audit"
	"cauase/pkg/rollover"
	"cauase/pkg/store"
)

// A Rotation says how a generation is started out of turn.
type Rotation struct {
	Begin store.Activation // ByAge: passive for a span, as usual; AtOnce; or WhenAdopted

	// Latest is when it becomes active at the latest, WhenAdopted, counted from now. Zero, and whatever is longer: after a span, as usual.
	Latest time.Duration

	// Compromised withdraws those before it once it is active: somebody else may have their keys.
	Compromised bool
}

// A rotation is a Rotation and who has asked for it.
type rotation struct {
	Rotation
	actor audit.Actor
}

// begin has made begin as the rotation says; nil: by age.
func (r *rotation) begin(made *generation, now time.Time, spans rollover.Spans) {
	if r == nil {
		return
	}
	switch made.begin = r.Begin; r.Begin {
	case store.AtOnce:
		made.times.Activation, made.times.ActivatedAt = rollover.Activated, now
	case store.WhenAdopted:
		if r.Compromised {
			made.begin = store.WhenAdoptedWithdraw
		}
		latest := spans.Leaf
		if r.Latest > 0 {
			latest = min(latest, r.Latest)
		}
		made.times.Activation, made.times.ActivatedAt = rollover.WhenAdopted, now.Add(latest)
	}
}

// withdraws reports whether those before it are withdrawn at once.
func (r *rotation) withdraws() bool { return r.Compromised && r.Begin == store.AtOnce }

func (r Rotation) String() string {
	text := map[store.Activation]string{store.ByAge: "active after a span", store.AtOnce: "active at once", store.WhenAdopted: "active when hosts have it"}[r.Begin]
	if r.Compromised {
		text += ", those before it withdrawn then"
	}
	return text
}

// Rotate starts a new generation out of turn, on behalf of an operator, and returns its key identifier. It fails with
// ErrSignoff where a parent whose key is elsewhere has to sign it off first; what that one needs is prepared.
func (a *Authority) Rotate(ctx context.Context, actor audit.Actor, how Rotation) (keyID []byte, err error) {
	defer a.observe(audit.RotateCA, &err)
	now := a.clock.Now()
	if err := a.mayRotate(now, how); err != nil {
		return nil, err
	}
	if err := a.rolling.lock(ctx); err != nil {
		return nil, err
	}
	made, err := a.rotate(ctx, now, &rotation{how, actor})
	a.rolling.unlock()
	if errors.Is(err, ErrSignoff) {
		// Its key and its request are there for whoever carries files to the parent.
		if _, failed := a.signoffNow(ctx, now, actor); failed != nil {
			return nil, failed
		}
	}
	if err != nil {
		return nil, err
	}
	a.log.WarnContext(ctx, "a CA certificate was made out of turn", "key_id", hex.EncodeToString(made.crt.SubjectKeyId), "how", how.String())
	return made.crt.SubjectKeyId, nil
}

func (a *Authority) mayRotate(now time.Time, how Rotation) error {
	switch {
	case a.external():
		return fmt.Errorf("%w: the key of %s is kept elsewhere: make a new CA certificate there, and install it", ErrInvalid, a.name)
	case a.retired(now):
		return fmt.Errorf("%w: %s", ErrRetired, a.name)
	case how.Begin != store.ByAge && how.Begin != store.AtOnce && how.Begin != store.WhenAdopted:
		return fmt.Errorf("%w: a CA certificate that begins to sign %q", ErrInvalid, string(how.Begin))
	case how.Latest < 0:
		return fmt.Errorf("%w: a time to wait of %v", ErrInvalid, how.Latest)
	case how.Latest > 0 && how.Begin != store.WhenAdopted:
		return fmt.Errorf("%w: only for a CA certificate that waits for hosts to have it can there be a time until which it does", ErrInvalid)
	case how.Begin == store.WhenAdopted && a.row.Role == store.RoleRoot:
		return fmt.Errorf("%w: nobody has a certificate of %s, a root, to confirm anything with: have it become active at once, or after the usual time", ErrInvalid, a.name)
	case how.Begin == store.WhenAdopted && a.row.Role == store.RoleDaemon:
		return fmt.Errorf("%w: no host keeps the CA certificates of %s: clients are told of them whenever they connect; have it become active at once", ErrInvalid, a.name)
	case how.Compromised && how.Begin == store.ByAge:
		return fmt.Errorf("%w: those before it are withdrawn when it becomes active, and not a whole span later: have it become active at once, or when hosts have it", ErrInvalid)
	case how.Compromised && a.row.Role == store.RoleRoot:
		return fmt.Errorf("%w: who trusts %s, a root, was told so by hand, and nothing that is signed here says otherwise to them: add another root, put what is below this one under it, and rotate that", ErrInvalid, a.name)
	}
	return nil
}

// rotate makes the generation. The caller holds rolling.
func (a *Authority) rotate(ctx context.Context, now time.Time, how *rotation) (made generation, err error) {
	for range attempts {
		if err := a.reload(ctx); err != nil {
			return made, err
		}
		loaded := a.cas.Load()
		if i := a.waiting(now, loaded); i >= 0 && (how.Begin == store.WhenAdopted || loaded.list[i].begin == store.WhenAdoptedWithdraw && !how.withdraws()) {
			return made, fmt.Errorf("%w: the CA certificate %x waits for hosts to have it already: have that become active, or make another one that is active at once",
				ErrConflict, loaded.list[i].crt.SubjectKeyId)
		}
		if made, err = a.succeed(ctx, now, loaded, how); !errors.Is(err, errStale) {
			return made, err
		}
		if parent, _ := a.parent(); parent != nil {
			if err := parent.reload(ctx); err != nil {
				return made, err
			}
		}
	}
	return made, err
}

// recordRotation records that made was started out of turn, and withdraws those before it if that is to be. It returns the version of the
// CA certificates then.
func (a *Authority) recordRotation(ctx context.Context, tx store.Tx, now time.Time, how *rotation, made generation, before []generation) (version int64, err error) {
	e := a.entry(now, how.actor, audit.RotateCA, audit.CAObject(made.crt.SubjectKeyId))
	e.Detail = how.String()
	if made.begin.Waiting() {
		e.Detail += ", at the latest " + made.times.ActivatedAt.UTC().Format(time.RFC3339)
	}
	if err := tx.AppendAudit(ctx, e); err != nil {
		return 0, err
	}
	if how.withdraws() {
		if err := a.withdrawCAs(ctx, tx, now, how.actor, before); err != nil {
			return 0, err
		}
	}
	return tx.Counter(ctx, a.name, store.CounterCA)
}

// withdrawCAs has nobody trust those generations any more which could still be: somebody else may have their keys. Lists are due,
// as their absence is what hosts notice.
func (a *Authority) withdrawCAs(ctx context.Context, tx store.Tx, now time.Time, actor audit.Actor, before []generation) error {
	parent, err := a.parent()
	if err != nil {
		return err
	}
	for _, g := range before {
		if g.state != store.CAUsable {
			continue
		}
		if err := tx.EraseCAKey(ctx, a.name, g.id, store.CACompromised); err != nil {
			return err
		}
		if parent != nil && !selfSigned(g.crt) {
			if err := a.listAtParent(ctx, tx, now, actor, parent, g, cACompromise); err != nil {
				return err
			}
		}
		if err := tx.AppendAudit(ctx, a.entry(now, actor, audit.WithdrawCA, audit.CAObject(g.crt.SubjectKeyId))); err != nil {
			return err
		}
	}
	if _, err := tx.AddCounter(ctx, a.name, store.CounterCRLNumber, 1); err != nil {
		return err
	}
	_, err = tx.AddCounter(ctx, a.name, store.CounterCA, 1)
	return err
}

// cACompromise is the reason for which a parent revokes what was withdrawn (RFC 5280 5.3.1).
const cACompromise = 2

// erased has the custodian erase the keys of generations that were withdrawn, and the lists made that lack them.
func (a *Authority) erased(ctx context.Context, withdrawn []generation) {
	_ = a.revoked(nil)
	if parent, _ := a.parent(); parent != nil {
		_ = parent.revoked(nil)
	}
	for _, g := range withdrawn {
		if g.state == store.CAUsable {
			a.erase(ctx, g.ref)
			a.log.WarnContext(ctx, "a CA certificate was withdrawn: its certificates on record can be exchanged, and nothing else that it has signed counts",
				"key_id", hex.EncodeToString(g.crt.SubjectKeyId))
		}
	}
}

// waiting returns which of known waits for hosts to have it, or has done so until its time came and was not recorded to be
// active; rollover.None if none does.
func (a *Authority) waiting(now time.Time, known *generations) int {
	signer := a.cfg.Decide(now, a.spans, known.times()).Signer
	for i := len(known.list) - 1; i >= max(signer, 0); i-- {
		if g := known.list[i]; g.begin.Waiting() && rollover.Valid(now, g.times) {
			return i
		}
	}
	return rollover.None
}

// Activate has the newest generation, which is passive, be active from now on, on behalf of an operator. If it waits to have those
// before it withdrawn, or compromised says so, they are. It returns the generation's key identifier.
func (a *Authority) Activate(ctx context.Context, actor audit.Actor, compromised bool) (keyID []byte, err error) {
	defer a.observe(audit.ActivateCA, &err)
	now := a.clock.Now()
	if err := a.mayRotate(now, Rotation{Begin: store.AtOnce, Compromised: compromised}); err != nil {
		return nil, err
	}
	err = a.retryStale(ctx, func() error {
		loaded := a.cas.Load()
		last := len(loaded.list) - 1
		if last < 0 || a.cfg.Decide(now, a.spans, loaded.times()).Phases[last] != rollover.Passive {
			return fmt.Errorf("%w: authority %s has no CA certificate that is passive", ErrConflict, a.name)
		}
		keyID = loaded.list[last].crt.SubjectKeyId
		withdraws := compromised || slices.ContainsFunc(loaded.list, func(g generation) bool { return g.begin == store.WhenAdoptedWithdraw })
		return a.activate(ctx, now, actor, loaded, last, now, "by an operator", withdraws)
	})
	if err != nil {
		return nil, err
	}
	return keyID, nil
}

// activate has one of loaded be active since a time, and withdraws those before it if that is to be.
func (a *Authority) activate(ctx context.Context, now time.Time, actor audit.Actor, loaded *generations, which int, since time.Time, why string, withdraws bool) error {
	newest, before := loaded.list[which], loaded.list[:which]
	err := a.store.Update(ctx, func(tx store.Tx) error {
		if err := a.unchanged(ctx, tx, loaded.version); err != nil {
			return err
		}
		if err := tx.ActivateCA(ctx, a.name, newest.id, store.AtOnce, since); err != nil {
			return err
		}
		e := a.entry(now, actor, audit.ActivateCA, audit.CAObject(newest.crt.SubjectKeyId))
		e.Detail = why
		if err := tx.AppendAudit(ctx, e); err != nil {
			return err
		}
		if withdraws {
			return a.withdrawCAs(ctx, tx, now, actor, before)
		}
		_, err := tx.AddCounter(ctx, a.name, store.CounterCA, 1)
		return err
	})
	if err != nil {
		return err
	}
	if withdraws {
		a.erased(ctx, before)
	}
	a.log.WarnContext(ctx, "a CA certificate signs from now on", "key_id", hex.EncodeToString(newest.crt.SubjectKeyId), "why", why)
	return a.reload(ctx)
}
