package keys

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"cauase/pkg/pki"
)

// A Source keeps the wrapped KEKs of authorities.
type Source interface {
	// KEK returns that of an authority, ErrNoKEK if there is none. Empty: that of the daemon as a whole.
	KEK(ctx context.Context, authority string) (Wrapped, error)
	// AddKEK stores that of an authority which has none. If it has one meanwhile, that is returned.
	AddKEK(ctx context.Context, authority string, w Wrapped) (Wrapped, error)
}

// ErrNoKEK means that an authority has no KEK.
var ErrNoKEK = errors.New("there is no key-encryption key")

// A Keyring is the custody of keys that are sealed in the database. It opens KEKs, keeps them in memory, and has keys in other custody opened
// by those. It is safe for concurrent use.
type Keyring struct {
	source Source
	wraps  map[string]Wrap
	others map[string]Custody
	now    func() time.Time

	askOwn func(authority string) ([]byte, error)

	mu     sync.RWMutex
	sealed bool                 // whether there is a KEK of the daemon, so that new keys are sealed
	open   map[string]openedKEK // by authority
	why    map[string]error     // why those of others could not be opened
}

type openedKEK struct {
	kek   []byte
	until time.Time // zero: as long as the keyring lasts
}

// NewKeyring returns a keyring over source, which is locked until Unlock. wraps are those that can be opened.
func NewKeyring(source Source, now func() time.Time, wraps ...Wrap) *Keyring {
	k := &Keyring{source: source, now: now, wraps: map[string]Wrap{}, others: map[string]Custody{RowCustody: Row{}}, open: map[string]openedKEK{}, why: map[string]error{}}
	for _, w := range wraps {
		k.Use(w)
	}
	return k
}

// Use has KEKs opened by w as well, in place of an earlier wrap of that name.
func (k *Keyring) Use(w Wrap) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.wraps[w.Name()] = w
}

// Add has keys whose references name this custody opened by c.
func (k *Keyring) Add(name string, c Custody) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.others[name] = c
}

// AskOwn has ask called for the passphrase of an authority that has one of its own, where its keys are needed.
func (k *Keyring) AskOwn(ask func(authority string) ([]byte, error)) { k.askOwn = ask }

// heldOwn is how long what such a passphrase opens is kept.
const heldOwn = 5 * time.Minute

// Sealed reports whether keys that are made are sealed.
func (k *Keyring) Sealed() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.sealed
}

// Unlock opens the KEK of the daemon, if there is one. The error is ErrLocked or ErrUnwrap if that cannot be done now; then the keyring is
// locked, unless it was open before.
func (k *Keyring) Unlock(ctx context.Context) error {
	w, err := k.source.KEK(ctx, "")
	if errors.Is(err, ErrNoKEK) {
		return nil
	}
	if err == nil {
		return k.unlock(ctx, w)
	}
	return err
}

func (k *Keyring) unlock(ctx context.Context, w Wrapped) error {
	k.mu.RLock()
	with, ok := k.wraps[w.Wrap]
	k.mu.RUnlock()
	var kek []byte
	err := fmt.Errorf("%w: they are sealed by %q, which this program cannot open", ErrLocked, pki.EscapeText(w.Wrap))
	if ok {
		kek, err = with.Unwrap(ctx, "", w)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed = true
	if err != nil {
		if _, was := k.open[""]; !was {
			k.why[""] = lockedBy(err)
		}
		return err
	}
	k.keep("", kek, time.Time{})
	for name := range k.why {
		delete(k.why, name) // they may open now
	}
	return nil
}

// lockedBy is what operations are told. What is wrong with a passphrase is for whoever has given it.
func lockedBy(err error) error {
	if errors.Is(err, ErrLocked) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrLocked, err)
}

// keep puts a KEK into memory. The caller holds mu.
func (k *Keyring) keep(authority string, kek []byte, until time.Time) {
	if old, ok := k.open[authority]; ok {
		clear(old.kek)
	}
	k.open[authority] = openedKEK{kek, until}
	delete(k.why, authority)
}

// Begin makes the KEK of the daemon and stores it, wrapped by with, unless there is one already, which is then opened. From then on keys that
// are made are sealed.
func (k *Keyring) Begin(ctx context.Context, with Wrap) (begun bool, err error) {
	kek, err := newKEK()
	if err != nil {
		return false, err
	}
	w, err := with.Wrap(ctx, "", kek)
	if err != nil {
		return false, err
	}
	stored, err := k.source.AddKEK(ctx, "", w)
	if err != nil {
		return false, err
	}
	k.Use(with)
	if string(stored.Key) != string(w.Key) {
		clear(kek)
		return false, k.unlock(ctx, stored)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sealed = true
	k.keep("", kek, time.Time{})
	return true, nil
}

func newKEK() ([]byte, error) {
	kek := make([]byte, kekSize)
	_, err := rand.Read(kek)
	return kek, err
}

// Ready says why no key of the authority can be used now, as far as is known.
func (k *Keyring) Ready(authority string) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if err := k.why[""]; err != nil {
		return err
	}
	if o, ok := k.open[authority]; ok {
		if k.expired(o) {
			return ErrOwn
		}
		return nil
	}
	return k.why[authority]
}

func (k *Keyring) expired(o openedKEK) bool { return !o.until.IsZero() && !k.now().Before(o.until) }

// ErrOwn is why the keys of a root are locked, as a rule. It is an ErrLocked.
var ErrOwn = fmt.Errorf("%w: they have a passphrase of their own, which an operator gives for each operation", ErrLocked)

// Lock forgets the KEK of an authority that was opened for a while, whether that is over or not.
func (k *Keyring) Lock(authority string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.forget(authority)
}

func (k *Keyring) forget(authority string) {
	if o, ok := k.open[authority]; ok && !o.until.IsZero() {
		clear(o.kek)
		delete(k.open, authority)
		k.why[authority] = ErrOwn
	}
}

// Expire forgets the KEKs whose time is over, and returns whose they were.
func (k *Keyring) Expire() (gone []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, o := range k.open {
		if k.expired(o) {
			k.forget(name)
			gone = append(gone, name)
		}
	}
	return gone
}

// withKEK calls fn with the KEK of an authority, which is made if there is none and make is set.
func (k *Keyring) withKEK(ctx context.Context, authority string, make bool, fn func(kek []byte) error) error {
	for {
		k.mu.RLock()
		if err := k.why[""]; err != nil {
			k.mu.RUnlock()
			return err
		}
		o, ok := k.open[authority]
		if ok && !k.expired(o) {
			err := fn(o.kek)
			k.mu.RUnlock()
			return err
		}
		k.mu.RUnlock()
		if ok {
			k.Expire()
		}
		if err := k.load(ctx, authority, make); err != nil {
			return err
		}
	}
}

// load opens the KEK of an authority.
func (k *Keyring) load(ctx context.Context, authority string, make bool) error {
	w, err := k.source.KEK(ctx, authority)
	if errors.Is(err, ErrNoKEK) && authority == "" {
		return fmt.Errorf("%w: %w of the database", ErrUnusable, err)
	}
	if errors.Is(err, ErrNoKEK) && make {
		var added Wrapped
		if added, err = k.wrapNew(authority); err == nil {
			w, err = k.source.AddKEK(ctx, authority, added)
		}
	}
	if err != nil {
		if errors.Is(err, ErrNoKEK) {
			err = fmt.Errorf("%w: %w", ErrUnusable, err)
		}
		return err
	}
	if authority == "" {
		return k.unlock(ctx, w)
	}
	return k.openFrom(ctx, authority, w)
}

// wrapNew makes a KEK for an authority, under the daemon's.
func (k *Keyring) wrapNew(authority string) (Wrapped, error) {
	kek, err := newKEK()
	if err != nil {
		return Wrapped{}, err
	}
	defer clear(kek)
	k.mu.RLock()
	defer k.mu.RUnlock()
	daemon, ok := k.open[""]
	if !ok {
		return Wrapped{}, ErrLocked
	}
	return WrapWith(wrapDaemon, daemon.kek, authority, []byte(`{"v":1}`), kek)
}

func (k *Keyring) openFrom(ctx context.Context, authority string, w Wrapped) error {
	var kek []byte
	var err error
	k.mu.RLock()
	daemon, ok := k.open[""]
	with, known := k.wraps[w.Wrap]
	k.mu.RUnlock()
	switch {
	case w.Wrap == wrapDaemon && !ok:
		return k.load(ctx, "", false)
	case w.Wrap == wrapDaemon:
		kek, err = UnwrapWith(daemon.kek, authority, w)
	case w.Wrap == WrapPassphrase && k.askOwn == nil:
		err = ErrOwn
	case w.Wrap == WrapPassphrase:
		passphrase, err := k.askOwn(authority)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOwn, err)
		}
		return k.UnlockOwn(ctx, authority, passphrase, heldOwn)
	case known:
		kek, err = with.Unwrap(ctx, authority, w)
	default:
		err = fmt.Errorf("%w: they are sealed by %q, which this program cannot open", ErrLocked, pki.EscapeText(w.Wrap))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if errors.Is(err, ErrLocked) {
			k.why[authority] = err
		}
		return err
	}
	k.keep(authority, kek, time.Time{})
	return nil
}

// UnlockOwn opens the KEK of an authority that has a passphrase of its own, for so long. ErrUnwrap if that is another one.
func (k *Keyring) UnlockOwn(ctx context.Context, authority string, passphrase []byte, long time.Duration) error {
	w, err := k.source.KEK(ctx, authority)
	if err != nil {
		return err
	}
	if w.Wrap != WrapPassphrase {
		return fmt.Errorf("%w: %s has no passphrase of its own", ErrNoKEK, authority)
	}
	var kek []byte
	if err := k.withKEK(ctx, "", false, func(daemon []byte) (err error) {
		kek, err = unwrapOwn(daemon, passphrase, authority, w)
		return err
	}); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(authority, kek, k.now().Add(long))
	return nil
}

// Forget has all KEKs opened anew when they are needed.
func (k *Keyring) Forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for name, o := range k.open {
		clear(o.kek)
		delete(k.open, name)
	}
	clear(k.why)
	k.sealed = false
}

// Rewrap returns the KEK of the daemon, which is open, wrapped by another wrap.
func (k *Keyring) Rewrap(ctx context.Context, with Wrap) (w Wrapped, err error) {
	err = k.withKEK(ctx, "", false, func(kek []byte) (err error) {
		w, err = with.Wrap(ctx, "", kek)
		return err
	})
	return w, err
}

// RewrapOwn returns the KEK of an authority, which is open, under a passphrase of its own, or, without one, under the daemon's alone.
func (k *Keyring) RewrapOwn(ctx context.Context, authority string, passphrase []byte) (w Wrapped, err error) {
	var own []byte
	if err := k.withKEK(ctx, authority, true, func(kek []byte) error { own = append(own, kek...); return nil }); err != nil {
		return w, err
	}
	defer clear(own)
	err = k.withKEK(ctx, "", false, func(daemon []byte) (err error) {
		if passphrase == nil {
			w, err = WrapWith(wrapDaemon, daemon, authority, []byte(`{"v":1}`), own)
		} else {
			w, err = wrapOwn(daemon, passphrase, authority, own)
		}
		return err
	})
	return w, err
}

// Seal encrypts a key that somebody has: an imported one, or one that was in the clear.
func (k *Keyring) Seal(ctx context.Context, purpose Purpose, key crypto.Signer) (ref Ref, err error) {
	err = k.withKEK(ctx, purpose.Authority, true, func(kek []byte) (err error) {
		ref, err = sealKey(kek, purpose, key)
		return err
	})
	return ref, err
}

// custody returns whose a key is, nil if it is sealed here.
func (k *Keyring) custody(name string) (Custody, error) {
	if name == SealedCustody {
		return nil, nil
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	c, ok := k.others[name]
	if !ok {
		return nil, fmt.Errorf("%w: it is in the custody of %q", ErrUnusable, pki.EscapeText(name))
	}
	return c, nil
}

// Generate makes a key in memory and seals it, or, in a database whose keys are in the clear, does not.
func (k *Keyring) Generate(ctx context.Context, purpose Purpose, keyType pki.KeyType) (Ref, crypto.Signer, error) {
	sealed, err := k.sealing(ctx)
	if err != nil {
		return Ref{}, nil, err
	}
	if !sealed {
		return Row{}.Generate(ctx, purpose, keyType)
	}
	if err := k.Ready(purpose.Authority); err != nil {
		return Ref{}, nil, err
	}
	key, err := keyType.Generate()
	if err != nil {
		return Ref{}, nil, err
	}
	ref, err := k.Seal(ctx, purpose, key)
	return ref, key, err
}

// sealing reports whether keys are sealed: another process may have begun to.
func (k *Keyring) sealing(ctx context.Context) (bool, error) {
	if k.Sealed() {
		return true, nil
	}
	switch err := k.Unlock(ctx); {
	case errors.Is(err, ErrLocked), errors.Is(err, ErrUnwrap):
		return true, lockedBy(err)
	case err != nil:
		return false, err
	}
	return k.Sealed(), nil
}

// Open decrypts a key.
func (k *Keyring) Open(ctx context.Context, purpose Purpose, ref Ref) (key crypto.Signer, err error) {
	if c, err := k.custody(ref.Custody); err != nil || c != nil {
		if err != nil {
			return nil, err
		}
		return c.Open(ctx, purpose, ref)
	}
	err = k.withKEK(ctx, purpose.Authority, false, func(kek []byte) (err error) {
		key, err = openKey(kek, purpose, ref)
		return err
	})
	return key, err
}

// Rebind encrypts a key for another purpose.
func (k *Keyring) Rebind(ctx context.Context, ref Ref, from, to Purpose) (Ref, error) {
	if c, err := k.custody(ref.Custody); err != nil || c != nil {
		if err != nil {
			return Ref{}, err
		}
		return c.Rebind(ctx, ref, from, to)
	}
	key, err := k.Open(ctx, from, ref)
	if err != nil {
		return Ref{}, err
	}
	return k.Seal(ctx, to, key)
}

// Erase has a key in other custody erased: one that is sealed is gone when its reference is.
func (k *Keyring) Erase(ctx context.Context, ref Ref) error {
	if c, err := k.custody(ref.Custody); err != nil || c != nil {
		if err != nil {
			return err
		}
		return c.Erase(ctx, ref)
	}
	return nil
}
